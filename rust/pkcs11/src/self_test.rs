//! What a token must prove before a root key is trusted to it: known answers, and answers that fit each other.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use icehouse_core::ecdsa;
use zeroize::Zeroizing;

use crate::error::{Error, Failure};
use crate::gcm as aes_gcm;
use crate::handle::Handle;
use crate::key;
use crate::mechanisms::{ECDSA, HMAC};
use crate::talk::Talk;
use crate::Kind;

const MESSAGE: &[u8] = b"icehouse known answer";
const KNOWN: &str = "known answer";

/// A key that the whole world knows, with a nonce, associated data, plaintext and what comes of it: test case 16 of
/// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B.
mod gcm {
    pub const KEY: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    pub const NONCE: &str = "cafebabefacedbaddecaf888";
    pub const CONTEXT: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    pub const PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                             1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    pub const SEALED: &str = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                              8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece\
                              0f4e1768cddf8853bb2d551b";
}

/// HMAC-SHA512 of `MESSAGE` under the bytes 0 to 63, computed with OpenSSL.
const TAG: &str = "1ac2b3c024cf506056eca4e2935bca615622fcacc47d97d830dceef14b81c11e\
                   fecae53f24ecf16fb5f4400faa55a1192f0d4cadce16671ec1c18ef0227248b4";

/// Known answers under keys that are put into a session and go with it. A token that takes no keys from outside is
/// passed over: its own keys are still tested, each when it is first used. So is a mechanism that the module lacks.
pub(crate) fn of_token(talk: &Talk) -> Result<(), Failure> {
    let missing = &talk.facts.missing;
    if missing.for_kind(Kind::Aes).is_empty() {
        with_known_key(talk.session, KeyType::AES, &hex(gcm::KEY), |key| {
            gcm_answers(talk, key)
        })?;
    }
    if missing.for_kind(Kind::Hmac).is_empty() {
        let known: Vec<u8> = (0..64).collect();
        with_known_key(talk.session, talk.profile().hmac_key_type, &known, |key| {
            hmac_answers(talk, key)
        })?;
    }
    Ok(())
}

fn gcm_answers(talk: &Talk, key: ObjectHandle) -> Result<(), Failure> {
    let sealed = [hex(gcm::NONCE), hex(gcm::SEALED)].concat();
    let opened = aes_gcm::decrypt(talk, KNOWN, key, &sealed, &hex(gcm::CONTEXT))?;
    if opened[..] == hex(gcm::PLAIN)[..] {
        return Ok(());
    }
    Err(deviates("AES-GCM"))
}

fn hmac_answers(talk: &Talk, key: ObjectHandle) -> Result<(), Failure> {
    let tag = talk
        .sign(&Mechanism::Sha512Hmac, key, MESSAGE)
        .map_err(|why| talk.meaning(HMAC.1, KNOWN, why))?;
    if tag == hex(TAG) {
        return Ok(());
    }
    Err(deviates("HMAC-SHA512"))
}

fn with_known_key(
    session: &Session,
    key_type: KeyType,
    value: &[u8],
    test: impl FnOnce(ObjectHandle) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(key_type),
        Attribute::Token(false),
        Attribute::Value(value.to_vec()),
    ];
    template.push(if key_type == KeyType::AES {
        Attribute::Decrypt(true)
    } else {
        Attribute::Sign(true)
    });
    let Ok(key) = session.create_object(&template) else {
        return Ok(());
    };
    let outcome = test(key);
    let _ = session.destroy_object(key);
    outcome
}

/// Proves that a root key works as its kind should, without knowing it.
pub(crate) fn of_key(talk: &Talk, label: &str, key: Handle) -> Result<(), Failure> {
    match key.kind {
        Kind::Aes => round_trip(talk, label, key.object),
        Kind::Hmac => repeats(talk, label, key.object),
        Kind::Ecdsa => verifies(talk, label, key.object),
    }
}

/// Proves that a key opens what it sealed, and not in another context.
pub(crate) fn round_trip(talk: &Talk, label: &str, object: ObjectHandle) -> Result<(), Failure> {
    let plain = [0u8; 32];
    let sealed = aes_gcm::encrypt(talk, label, object, &plain, MESSAGE)?;
    if sealed.len() != plain.len() + aes_gcm::NONCE_LEN + aes_gcm::TAG_LEN {
        return Err(deviates("AES-GCM"));
    }
    let opened = match aes_gcm::decrypt(talk, label, object, &sealed, MESSAGE) {
        // A module that takes another nonce than the caller's cannot open it again.
        Err(Failure::WrongTag) => return Err(deviates("AES-GCM")),
        other => other?,
    };
    if opened[..] != plain {
        return Err(deviates("AES-GCM"));
    }
    // Modules differ in how they say no; what counts is that they do.
    match aes_gcm::decrypt(talk, label, object, &sealed, b"elsewhere") {
        Ok(_) => Err(deviates("AES-GCM")),
        Err(_) => Ok(()),
    }
}

fn repeats(talk: &Talk, label: &str, object: ObjectHandle) -> Result<(), Failure> {
    let tag = |message: &[u8]| {
        talk.sign(&Mechanism::Sha512Hmac, object, message)
            .map(Zeroizing::new)
            .map_err(|why| talk.meaning(HMAC.1, label, why))
    };
    let first = tag(MESSAGE)?;
    if first.len() == 64 && first == tag(MESSAGE)? && first != tag(b"another message")? {
        return Ok(());
    }
    Err(deviates("HMAC-SHA512"))
}

fn verifies(talk: &Talk, label: &str, object: ObjectHandle) -> Result<(), Failure> {
    let digest = [7u8; 32];
    let signature = talk
        .sign(&Mechanism::Ecdsa, object, &digest)
        .map_err(|why| talk.meaning(ECDSA.1, label, why))?;
    let point = key::public_point(talk.session, talk.profile(), label)?;
    ecdsa::verify(&point, &digest, &signature).map_err(|_| deviates("ECDSA on P-256"))
}

fn deviates(what: &str) -> Failure {
    Error::refused_with(
        format!("the HSM's {what} gives other answers than the standard"),
        "this module must not be trusted with keys; ask its vendor",
    )
    .into()
}

fn hex(digits: &str) -> Vec<u8> {
    let value = |digit: u8| (digit as char).to_digit(16).unwrap_or_default() as u8;
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| value(pair[0]) << 4 | value(pair[1]))
        .collect()
}
