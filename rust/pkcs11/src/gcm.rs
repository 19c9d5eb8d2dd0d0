//! AES-GCM, as nonce ‖ ciphertext ‖ tag whoever draws the nonce.

use std::ffi::c_ulong;
use std::ptr;

use cryptoki::error::{Error as Cryptoki, Result};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::mechanisms::GCM;
use crate::patience::patiently;
use crate::profile::Gcm;
use crate::talk::Talk;

pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

/// `CK_GCM_PARAMS` without a nonce, as a mechanism takes it that puts the nonce before the ciphertext.
///
/// The library's own type would set the nonce, and cannot go with a vendor's mechanism.
#[repr(C)]
struct NonceInside {
    iv: *const u8,
    iv_len: c_ulong,
    iv_bits: c_ulong,
    aad: *const u8,
    aad_len: c_ulong,
    tag_bits: c_ulong,
}

impl NonceInside {
    // The module reads `context` while the mechanism is in use: the callers keep it until then.
    fn new(context: &[u8]) -> Self {
        Self {
            iv: ptr::null(),
            iv_len: 0,
            iv_bits: 0,
            aad: context.as_ptr(),
            aad_len: context.len() as c_ulong,
            tag_bits: 8 * TAG_LEN as c_ulong,
        }
    }

    fn mechanism(&self, number: u64) -> Result<Mechanism<'_>> {
        let number = MechanismType::new_vendor_defined(number as c_ulong)?;
        Ok(Mechanism::VendorDefined(VendorDefinedMechanism::new(
            number,
            Some(self),
        )))
    }
}

fn standard<'a>(nonce: &'a mut [u8; NONCE_LEN], context: &'a [u8]) -> Result<Mechanism<'a>> {
    let tag_bits = 8 * TAG_LEN as u64;
    Ok(Mechanism::AesGcm(GcmParams::new(
        nonce,
        context,
        tag_bits.into(),
    )?))
}

pub(crate) fn encrypt(
    talk: &Talk,
    label: &str,
    key: ObjectHandle,
    plain: &[u8],
    context: &[u8],
) -> std::result::Result<Vec<u8>, Failure> {
    let profile = talk.profile();
    let sealed = patiently(profile, || match profile.gcm {
        Gcm::CallersNonce => {
            let mut nonce = [0u8; NONCE_LEN];
            OsRng.fill_bytes(&mut nonce);
            // The module gets a copy: one that writes its own nonce into it must not go unnoticed.
            let mut lent = nonce;
            let sealed = talk.encrypt(&standard(&mut lent, context)?, key, plain)?;
            Ok([&nonce[..], &sealed].concat())
        }
        Gcm::Prepended(number) => {
            let params = NonceInside::new(context);
            talk.encrypt(&params.mechanism(number)?, key, plain)
        }
    });
    sealed.map_err(|why| talk.meaning(GCM.1, label, why))
}

/// Opens nonce ‖ ciphertext ‖ tag, which must be at least a nonce and a tag long.
pub(crate) fn decrypt(
    talk: &Talk,
    label: &str,
    key: ObjectHandle,
    sealed: &[u8],
    context: &[u8],
) -> std::result::Result<Zeroizing<Vec<u8>>, Failure> {
    let profile = talk.profile();
    let (head, rest) = sealed.split_at(NONCE_LEN);
    let opened = patiently(profile, || match profile.gcm {
        Gcm::CallersNonce => {
            let mut nonce = [0u8; NONCE_LEN];
            nonce.copy_from_slice(head);
            talk.decrypt(&standard(&mut nonce, context)?, key, rest)
        }
        Gcm::Prepended(number) => {
            let params = NonceInside::new(context);
            talk.decrypt(&params.mechanism(number)?, key, sealed)
        }
    });
    match opened {
        Ok(opened) => Ok(Zeroizing::new(opened)),
        Err(Cryptoki::Pkcs11(code, _)) if profile.wrong_tag.contains(&code) => {
            Err(Failure::WrongTag)
        }
        Err(why) => Err(talk.meaning(GCM.1, label, why)),
    }
}
