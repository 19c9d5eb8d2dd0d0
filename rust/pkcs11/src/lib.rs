//! Root keys on any PKCS#11 token.
//!
//! A token is used through a pool of sessions. Whatever breaks a session, a login or a handle is answered the same way:
//! drop all of them, log in again, find the keys again by label, and retry what may be retried.
#![deny(unsafe_code)]

use std::fmt;

mod attempt;
mod changing;
pub mod error;
mod facts;
mod functions;
mod gcm;
mod handle;
mod key;
mod login;
pub mod mechanisms;
pub mod module;
mod patience;
pub mod pin;
pub mod profile;
mod self_test;
mod session;
mod settling;
mod slots;
mod talk;
mod token;

pub use error::{Error, Result};
pub use mechanisms::Missing;
pub use module::Config;
pub use pin::PinSource;
pub use token::Token;

use profile::Profile;

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// AES-256: wraps and unwraps.
    Aes,
    /// HMAC-SHA512 with a key of 64 bytes.
    Hmac,
    /// ECDSA on P-256.
    Ecdsa,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Aes, Self::Hmac, Self::Ecdsa];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes => "aes",
            Self::Hmac => "hmac",
            Self::Ecdsa => "ecdsa",
        })
    }
}

/// What a token says of itself.
#[derive(Debug, Clone)]
pub struct Info {
    /// The profile that it is used with.
    pub profile: &'static Profile,
    /// Its manufacturer.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Whether its module calls its slot hardware.
    pub hardware: bool,
    /// The mechanisms that its module does not have, by the kinds of key that need them.
    pub missing: Missing,
    /// What to do about one that is missing.
    pub remedy: &'static str,
}
