//! One translation: what a PKCS#11 module answers, as a decision that a caller can take.

use cryptoki::context::Function;
use cryptoki::error::{Error as Cryptoki, RvError};

use crate::profile::Profile;

/// A result of a token.
pub type Result<T> = std::result::Result<T, Error>;

/// What a token answers instead of a result. No variant ever carries a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Worth retrying.
    #[error("{0}")]
    Unavailable(String),
    /// Not worth retrying.
    #[error("{text}")]
    Refused {
        /// What was refused, and why.
        text: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// Wrapped bytes do not open in this context.
    #[error("{0}")]
    Seal(String),
    /// The caller can mend it.
    #[error("{text}")]
    Request {
        /// What is wrong with the request.
        text: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
}

impl Error {
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::Refused {
            text: text.into(),
            hint: None,
        }
    }

    pub(crate) fn refused_with(text: impl Into<String>, hint: &'static str) -> Self {
        Self::Refused {
            text: text.into(),
            hint: Some(hint),
        }
    }

    pub(crate) fn request(text: impl Into<String>, hint: &'static str) -> Self {
        Self::Request {
            text: text.into(),
            hint: Some(hint),
        }
    }
}

impl From<icehouse_core::Error> for Error {
    fn from(err: icehouse_core::Error) -> Self {
        Self::Request {
            text: err.to_string(),
            hint: None,
        }
    }
}

/// How an attempt ended that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The session, the login or the handle is gone: log in again, find the keys again, and try once more.
    Lost {
        why: String,
        /// Whether our session handles may still be ours. A stale one may name someone else's session, and is
        /// never closed.
        sessions_alive: bool,
    },
    /// The token is not there to log in to. A module that starts anew may find it again.
    Absent(String),
    /// What a cluster answers of a key that is not known everywhere yet: find it again, for a while.
    Unsettled(String),
    /// The token refused the PIN. Whoever logs in keeps it in mind, and says how many tries are left.
    WrongPin(String),
    /// The module says that it has no memory for another key: it is full, or busy.
    NoMemory(String),
    /// The module's way of saying that a tag does not fit; believed once the key has proved that it works.
    WrongTag,
    /// It is what it is.
    Is(Error),
}

impl From<Error> for Failure {
    fn from(err: Error) -> Self {
        Self::Is(err)
    }
}

/// What a module said, in few words.
pub(crate) fn answer(function: Function, code: RvError) -> String {
    format!("C_{function:?} answered {code:?}")
}

/// What a failure of the module means.
pub(crate) fn translate(profile: &Profile, err: Cryptoki) -> Failure {
    match err {
        Cryptoki::Pkcs11(code, function) => meaning(profile, code, answer(function, code)),
        Cryptoki::LibraryLoading(why) => Failure::Is(Error::request(
            format!("the PKCS#11 module cannot be loaded: {why}"),
            "module-path must name the shared library that the HSM's vendor installed",
        )),
        Cryptoki::MissingSymbol(_) => Failure::Is(Error::request(
            "the library named by module-path is not a PKCS#11 module",
            "module-path must name the shared library that the HSM's vendor installed",
        )),
        other => Failure::Is(Error::refused(format!(
            "the PKCS#11 module cannot do this: {other}"
        ))),
    }
}

fn meaning(profile: &Profile, code: RvError, said: String) -> Failure {
    match code {
        RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::CryptokiNotInitialized
        | RvError::DeviceRemoved
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid => Failure::Lost {
            why: said,
            sessions_alive: false,
        },
        RvError::ObjectHandleInvalid | RvError::KeyHandleInvalid if !profile.settling.is_zero() => {
            Failure::Unsettled(said)
        }
        RvError::UserNotLoggedIn
        | RvError::DeviceError
        | RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid
        | RvError::OperationActive
        | RvError::GeneralError
        | RvError::FunctionFailed => Failure::Lost {
            why: said,
            sessions_alive: true,
        },
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            Failure::WrongPin(format!("wrong PIN ({said})"))
        }
        RvError::PinLocked => Failure::Is(Error::refused_with(
            format!("the PIN is locked after too many wrong tries ({said})"),
            "only the token's security officer can unlock it",
        )),
        RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange => Failure::WrongTag,
        RvError::SessionCount
        | RvError::HostMemory
        | RvError::DeviceMemory
        | RvError::FunctionCanceled
        | RvError::FunctionRejected
        | RvError::CantLock => Failure::Is(Error::Unavailable(said)),
        RvError::VendorDefined(number) if profile.busy_codes.contains(&number) => {
            Failure::Is(Error::Unavailable(said))
        }
        _ => Failure::Is(Error::refused(format!("the HSM refused: {said}"))),
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
