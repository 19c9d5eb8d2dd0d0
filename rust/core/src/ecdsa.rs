//! ECDSA on P-256 as HSMs and key services write it: the bytes of a point and of a signature, and its verification.
//!
//! Nothing secret passes here. Curve and DER are the `p256` crate's.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::pkcs8::{DecodePublicKey, EncodePublicKey};
use p256::PublicKey;

use crate::error::{Error, Result};

/// Bytes of an uncompressed point of SEC 1: `04 ‖ x ‖ y`.
pub const POINT_LEN: usize = 65;
/// Bytes of a signature: `r ‖ s`.
pub const SIGNATURE_LEN: usize = 64;
const DIGEST_LEN: usize = 32;

/// Verifies `r ‖ s` on a digest under an uncompressed point (FIPS 186-5, 6.4.2).
pub fn verify(point: &[u8], digest: &[u8], signature: &[u8]) -> Result<()> {
    let refusal = |_| Error::protocol("the ECDSA signature does not verify under the public key");
    // The crate would take a compressed point and a digest of another hash, too.
    if point.len() != POINT_LEN || digest.len() != DIGEST_LEN {
        return Err(Error::malformed(format!(
            "a point of P-256 has {POINT_LEN} bytes and a digest {DIGEST_LEN}, not {} and {}",
            point.len(),
            digest.len()
        )));
    }
    let key = VerifyingKey::from_sec1_bytes(point).map_err(refusal)?;
    let signature = Signature::from_slice(signature).map_err(refusal)?;
    key.verify_prehash(digest, &signature).map_err(refusal)
}

/// The `r ‖ s` of a signature in DER (RFC 3279, section 2.2.3), strictly.
pub fn raw_signature(der: &[u8]) -> Result<[u8; SIGNATURE_LEN]> {
    Signature::from_der(der)
        .map(|signature| signature.to_bytes().into())
        .map_err(|_| Error::malformed("not a P-256 signature in DER"))
}

/// The uncompressed point in the one SubjectPublicKeyInfo that RFC 5480 has for it.
pub fn point_of(der: &[u8]) -> Result<[u8; POINT_LEN]> {
    let refusal = || Error::malformed("not an uncompressed P-256 key as SubjectPublicKeyInfo");
    let key = PublicKey::from_public_key_der(der).map_err(|_| refusal())?;
    // A compressed point and whatever else the crate reads are not what a service writes.
    let written = key.to_public_key_der().map_err(|_| refusal())?;
    if written.as_bytes() != der {
        return Err(refusal());
    }
    let point = key.to_encoded_point(false);
    point.as_bytes().try_into().map_err(|_| refusal())
}

#[cfg(test)]
#[path = "ecdsa_tests.rs"]
mod tests;
