//! The habits of vendors, as data.

use cryptoki::error::RvError;
use cryptoki::object::KeyType;

/// How one vendor's tokens behave where PKCS#11 leaves it open.
#[derive(Debug)]
pub struct Profile {
    /// The profile's name.
    pub name: &'static str,
    /// How the manufacturer's name in the token's information starts; empty for any.
    pub manufacturer: &'static str,
    /// What `C_Decrypt` answers, besides `CKR_ENCRYPTED_DATA_INVALID`, when a GCM tag does not fit.
    pub wrong_tag: &'static [RvError],
    /// Vendor codes that mean "busy, come again".
    pub busy_codes: &'static [u64],
    /// The key type of a generated HMAC key.
    pub hmac_key_type: KeyType,
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
    manufacturer: "",
    wrong_tag: &[],
    busy_codes: &[],
    hmac_key_type: KeyType::GENERIC_SECRET,
    max_sessions: 16,
    capacity: None,
    max_wrap_bytes: None,
    software: false,
};

/// SoftHSM 2.
pub const SOFTHSM: Profile = Profile {
    name: "softhsm",
    manufacturer: "SoftHSM",
    // Measured with 2.6.1: a wrong tag and wrong associated data both give CKR_GENERAL_ERROR.
    wrong_tag: &[RvError::GeneralError],
    software: true,
    ..GENERIC
};

/// The profiles by precedence; the last one fits any token.
pub const PROFILES: [&Profile; 2] = [&SOFTHSM, &GENERIC];

/// The profile for tokens of this manufacturer.
#[must_use]
pub fn for_manufacturer(manufacturer: &str) -> &'static Profile {
    PROFILES
        .into_iter()
        .find(|profile| manufacturer.starts_with(profile.manufacturer))
        .unwrap_or(&GENERIC)
}
