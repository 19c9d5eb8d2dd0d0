//! A token's PIN: where it is, and whether it may be tried.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;

use crate::error::{Error, Result};
use crate::profile::Profile;

pub(crate) const CHECK_PIN: &str =
    "check the PIN file named by pin-source; it is tried again once it is written anew, since tries may lock the token";

/// Where a token's PIN is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// In a file.
    File(PathBuf),
    /// Nowhere: the token takes the empty PIN, and was told to on purpose.
    Empty,
}

impl PinSource {
    /// The PIN, read anew.
    pub(crate) fn read(&self, profile: &Profile) -> Result<AuthPin> {
        let file = match self {
            Self::Empty if profile.pin_names_user => return Err(wants_user()),
            Self::Empty => return Ok(AuthPin::from(String::new())),
            Self::File(file) => file,
        };
        let pin = icehouse_core::pin::read(file)?;
        if profile.pin_names_user && !names_user(pin.expose()) {
            return Err(wants_user());
        }
        Ok(AuthPin::from(pin.expose().to_owned()))
    }

    /// What tells whether it was written anew; none where its file cannot be looked at.
    pub(crate) fn state(&self) -> Option<PinState> {
        let Self::File(file) = self else {
            return Some(PinState(0, 0, 0, 0));
        };
        let seen = fs::metadata(file).ok()?;
        Some(PinState(
            seen.ino(),
            seen.len(),
            seen.mtime(),
            seen.mtime_nsec(),
        ))
    }
}

fn names_user(pin: &str) -> bool {
    pin.split_once(':')
        .is_some_and(|(user, password)| !user.is_empty() && !password.is_empty())
}

fn wants_user() -> Error {
    Error::refused_with(
        "wrong PIN: CloudHSM's reads USER:PASSWORD, of a crypto user",
        "write both into the file named by pin-source, with a colon between them",
    )
}

/// A PIN file as it was once: its inode, its length and when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PinState(u64, u64, i64, i64);

/// A PIN that a token refused. Tokens lock after a few wrong tries, so the same file is not tried again by this process,
/// whoever opens the token.
pub(crate) struct RefusedPin {
    serial: String,
    label: String,
    pin: PinState,
    why: Error,
}

impl RefusedPin {
    pub fn new(info: &TokenInfo, pin: PinState, why: Error) -> Self {
        Self {
            serial: info.serial_number().to_owned(),
            label: info.label().to_owned(),
            pin,
            why,
        }
    }

    /// Whether it was this token that refused it.
    pub fn is_of(&self, info: &TokenInfo) -> bool {
        self.serial == info.serial_number() && self.label == info.label()
    }

    /// Why this PIN is not tried on this token; none where it may be.
    pub fn why_not(&self, info: &TokenInfo, pin: PinState) -> Option<&Error> {
        (self.is_of(info) && self.pin == pin).then_some(&self.why)
    }
}

/// Refuses the try that would lock the token if it failed, and one that cannot succeed.
pub(crate) fn check_tries(info: &TokenInfo) -> Result<()> {
    if info.user_pin_locked() {
        return Err(Error::refused_with(
            "the token says that its PIN is locked after too many wrong tries; it is not tried",
            "only the token's security officer can unlock it",
        ));
    }
    if info.user_pin_final_try() {
        return Err(Error::refused_with(
            "the token says that one more wrong PIN locks it; none is tried",
            "log in once with the right PIN and the vendor's tool, which starts the count anew: \
             pkcs11-tool --module LIBRARY --token-label LABEL --login --list-objects",
        ));
    }
    Ok(())
}

/// What a token said of the tries that are left, after a wrong one.
pub(crate) fn tries_left(info: &TokenInfo) -> &'static str {
    if info.user_pin_locked() {
        "; the token says that it is locked now"
    } else if info.user_pin_final_try() {
        "; the token says that one more wrong PIN locks it"
    } else {
        ""
    }
}
