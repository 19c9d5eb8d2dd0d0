//! Calling a module again where its answer may pass by itself.

use std::thread;
use std::time::Duration;

use cryptoki::error::{Error as Cryptoki, Result, RvError};
use rand_core::{OsRng, RngCore};

use crate::profile::Profile;

const FIRST: Duration = Duration::from_millis(10);

/// Makes a call, and makes it again after growing pauses while its answer is one that passes.
///
/// Only for calls that may be made twice: the module may have done what it did not answer.
pub(crate) fn patiently<T>(profile: &Profile, call: impl Fn() -> Result<T>) -> Result<T> {
    for turn in 0..profile.repeats {
        match call() {
            Err(Cryptoki::Pkcs11(code, _)) if passes(profile, code) => pause(turn),
            other => return other,
        }
    }
    call()
}

/// Whether an answer may be another one in a moment.
pub(crate) fn passes(profile: &Profile, code: RvError) -> bool {
    let busy =
        matches!(code, RvError::VendorDefined(number) if profile.busy_codes.contains(&number));
    busy || profile.passing.contains(&code)
}

/// Waits: 10 ms, then twice as long each turn up to a third of a second, half of it by chance so that threads part.
pub(crate) fn pause(turn: u32) {
    let whole = FIRST * (1 << turn.min(5));
    let parts = OsRng.next_u32() % 1024;
    thread::sleep(whole / 2 + whole * parts / 2048);
}
