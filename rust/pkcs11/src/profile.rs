//! The habits of vendors, as data.

use std::time::Duration;

use cryptoki::error::RvError;
use cryptoki::object::{AttributeType, KeyType};

use crate::error::Error;
use crate::Kind;

/// How AES-GCM gets its nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gcm {
    /// The caller draws it: `CKM_AES_GCM` as the standard has it.
    CallersNonce,
    /// The HSM draws it, and this vendor mechanism puts it before the ciphertext.
    Prepended(u64),
}

/// How one vendor's tokens behave where PKCS#11 leaves it open.
#[derive(Debug)]
pub struct Profile {
    /// The profile's name.
    pub name: &'static str,
    /// How the manufacturer's name, of the token or of the library, starts; empty for any.
    pub manufacturers: &'static [&'static str],
    /// What `C_Decrypt` answers, besides `CKR_ENCRYPTED_DATA_INVALID`, when a GCM tag does not fit.
    pub wrong_tag: &'static [RvError],
    /// What making a key answers when the token is full. Elsewhere the same answer may be that of a busy module.
    pub full: &'static [RvError],
    /// Whether `CKA_LOCAL` is not asked for: the module says of its own keys, too, that they came from outside.
    pub local_unknown: bool,
    /// Vendor codes that mean "busy, come again".
    pub busy_codes: &'static [u64],
    /// What passes by itself: a call that may be repeated is, before it counts as a lost session.
    pub passing: &'static [RvError],
    /// How often such a call is repeated.
    pub repeats: u32,
    /// How long after it was made a key may not be known everywhere; zero where it is known at once.
    pub settling: Duration,
    /// Who draws the nonces of AES-GCM.
    pub gcm: Gcm,
    /// Attributes that keys of a kind do not have: one of them makes a whole template fail.
    pub left_out: &'static [(Kind, AttributeType)],
    /// The key type of a generated HMAC key.
    pub hmac_key_type: KeyType,
    /// Whether a PIN reads `USER:PASSWORD`.
    pub pin_names_user: bool,
    /// The most sessions a process opens on a token, one of them the anchor.
    pub max_sessions: usize,
    /// How many keys fit, where the vendor says so.
    pub capacity: Option<u64>,
    /// The most bytes that one wrapping takes, context included.
    pub max_wrap_bytes: Option<u64>,
    /// Whether a token of this vendor is never hardware, whatever its slot says.
    pub software: bool,
}

/// Any module that follows the standard.
pub const GENERIC: Profile = Profile {
    name: "generic",
    manufacturers: &[],
    wrong_tag: &[],
    full: &[],
    local_unknown: false,
    busy_codes: &[],
    passing: &[
        RvError::DeviceError,
        RvError::FunctionFailed,
        RvError::DeviceMemory,
    ],
    repeats: 4,
    settling: Duration::ZERO,
    gcm: Gcm::CallersNonce,
    left_out: &[],
    hmac_key_type: KeyType::GENERIC_SECRET,
    pin_names_user: false,
    max_sessions: 16,
    capacity: None,
    max_wrap_bytes: None,
    software: false,
};

/// SoftHSM 2.
pub const SOFTHSM: Profile = Profile {
    name: "softhsm",
    manufacturers: &["SoftHSM"],
    // Measured with 2.6.1: a wrong tag and wrong associated data both give CKR_GENERAL_ERROR.
    wrong_tag: &[RvError::GeneralError],
    software: true,
    ..GENERIC
};

/// AWS CloudHSM, Client SDK 5.
pub const CLOUDHSM: Profile = Profile {
    name: "cloudhsm",
    manufacturers: &["AWS", "Amazon", "CloudHSM", "Cavium", "CAVIUM", "Marvell"],
    wrong_tag: &[RvError::GeneralError, RvError::DataInvalid],
    full: &[RvError::DeviceMemory],
    // A busy HSM answers CKR_FUNCTION_FAILED (user guide, "HSM throttling").
    repeats: 6,
    settling: Duration::from_secs(1),
    // CKM_CLOUDHSM_AES_GCM. CKM_AES_GCM would have the nonce written back into the caller's memory.
    gcm: Gcm::Prepended(0x8000_1087),
    left_out: &[
        (Kind::Hmac, AttributeType::Wrap),
        (Kind::Hmac, AttributeType::Unwrap),
        (Kind::Ecdsa, AttributeType::Unwrap),
        // False by default, and read back all the same; whether templates may name it is not known of every kind.
        (Kind::Aes, AttributeType::Derive),
        (Kind::Hmac, AttributeType::Derive),
        (Kind::Ecdsa, AttributeType::Derive),
    ],
    pin_names_user: true,
    // Of the 1,024 that one application may have.
    max_sessions: 16,
    capacity: Some(16_666),
    max_wrap_bytes: Some(16_384),
    ..GENERIC
};

/// NSS's software token, as Firefox and Red Hat's tools keep their keys in.
///
/// It gives up one check, so it is used only where it is asked for. Measured with 3.87: `CKA_LOCAL` is false of every key,
/// also of those made inside. `CKA_NEVER_EXTRACTABLE` is false of one that was brought in, and must be told.
pub const NSS: Profile = Profile {
    name: "nss",
    manufacturers: &["Mozilla"],
    local_unknown: true,
    software: true,
    ..GENERIC
};

/// Every profile.
pub const PROFILES: [&Profile; 4] = [&SOFTHSM, &CLOUDHSM, &NSS, &GENERIC];

// Those that a token's manufacturer decides for, by precedence; the last one fits any token.
const UNASKED: [&Profile; 3] = [&SOFTHSM, &CLOUDHSM, &GENERIC];

impl Profile {
    /// Whether it is meant for tokens of this manufacturer.
    #[must_use]
    pub fn fits(&self, manufacturer: &str) -> bool {
        self.manufacturers.is_empty()
            || self
                .manufacturers
                .iter()
                .any(|start| manufacturer.starts_with(start))
    }
}

/// The profile for tokens of this manufacturer.
#[must_use]
pub fn for_manufacturer(manufacturer: &str) -> &'static Profile {
    UNASKED
        .into_iter()
        .find(|profile| profile.fits(manufacturer))
        .unwrap_or(&GENERIC)
}

/// The profile that was asked for, if it fits; else the one for the token's manufacturer.
///
/// `vouched` says that whoever asked named the token's manufacturer, so that it is no surprise.
pub(crate) fn choose(
    wanted: Option<&str>,
    token: &str,
    library: &str,
    vouched: bool,
) -> Result<&'static Profile, Error> {
    let Some(name) = wanted else {
        return Ok(for_manufacturer(token));
    };
    let Some(profile) = PROFILES.into_iter().find(|profile| profile.name == name) else {
        let known = PROFILES.map(|profile| profile.name).join(", ");
        return Err(Error::request(
            format!("profile must be one of {known}, not '{name}'"),
            "without a profile, the token's manufacturer decides",
        ));
    };
    if profile.fits(token) || profile.fits(library) || vouched {
        return Ok(profile);
    }
    Err(Error::request(
        format!("the profile {name} is not for a token made by '{token}' behind a library by '{library}'"),
        "leave profile= out, or name the token's manufacturer as well: manufacturer=NAME before the '?' of the HSM's URI",
    ))
}
