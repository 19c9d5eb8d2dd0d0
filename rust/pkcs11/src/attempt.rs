//! Trying an operation, and trying it once more when the session it ran in was lost.

use std::time::{Duration, Instant};

use crate::error::{Error, Failure};
use crate::patience::pause;
use crate::session::Lent;
use crate::token::Token;

// Labels are waited for by a clock that starts a little later than the one here.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) type Attempt<T> = Result<T, Failure>;

/// How the retry after a lost session goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Once,
    Never,
}

/// How an operation ended that did not succeed, after its retries.
pub(crate) enum Failed {
    Lost(String),
    /// The module said that it has no memory for another key.
    NoMemory(String),
    WrongTag,
    Is(Error),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Lost(why) => Self::Unavailable(format!("the HSM cannot be reached: {why}")),
            Failed::NoMemory(why) => Self::Unavailable(format!(
                "the HSM has no memory for another key now: it is busy, or full ({why})"
            )),
            Failed::WrongTag => Self::Unavailable("the HSM's AES-GCM does not work".into()),
            Failed::Is(err) => err,
        }
    }
}

/// A failure without retries.
pub(crate) fn settled(failure: Failure) -> Error {
    match failure {
        Failure::Lost { why, .. } | Failure::Absent(why) | Failure::Unsettled(why) => {
            Failed::Lost(why).into()
        }
        Failure::NoMemory(why) => Failed::NoMemory(why).into(),
        Failure::WrongPin(why) => Error::refused(why),
        Failure::WrongTag => Failed::WrongTag.into(),
        Failure::Is(err) => err,
    }
}

impl Token {
    /// Lends a session to an attempt, and follows up on how it ends.
    pub(crate) fn run<T>(
        &self,
        retry: Retry,
        attempt: impl Fn(&Lent) -> Attempt<T>,
    ) -> Result<T, Failed> {
        let mut again = retry == Retry::Once;
        let (mut turn, mut settled) = (0, None);
        loop {
            match self.once(&attempt) {
                Err(Failure::Unsettled(why)) => {
                    let until = self.profile().settling + GRACE;
                    if settled.get_or_insert_with(Instant::now).elapsed() > until {
                        return Err(Failed::Lost(why));
                    }
                    self.pool.forget_handles();
                    pause(turn);
                    turn += 1;
                }
                Err(Failure::Lost { .. }) if again => again = false,
                Err(Failure::Lost { why, .. } | Failure::Absent(why)) => {
                    return Err(Failed::Lost(why))
                }
                Err(Failure::NoMemory(why)) => return Err(Failed::NoMemory(why)),
                Err(Failure::WrongPin(why)) => return Err(Failed::Is(Error::refused(why))),
                Err(Failure::WrongTag) => return Err(Failed::WrongTag),
                // The token was opened before, so what a new login lacks now, the PIN's file or the module's, is away.
                Err(Failure::Is(Error::Request { text, .. })) => {
                    return Err(Failed::Is(Error::Unavailable(text)))
                }
                Err(Failure::Is(err)) => return Err(Failed::Is(err)),
                Ok(value) => return Ok(value),
            }
        }
    }

    fn once<T>(&self, attempt: impl Fn(&Lent) -> Attempt<T>) -> Attempt<T> {
        let (login, outcome) = match self.pool.borrow() {
            Ok(lent) => {
                let login = lent.login;
                let outcome = attempt(&lent);
                match &outcome {
                    Ok(_) => self.pool.give_back(lent),
                    Err(Failure::Lost {
                        sessions_alive: false,
                        ..
                    }) => {
                        self.pool.discard(lent, false);
                    }
                    // An operation may still be active in it.
                    Err(_) => self.pool.discard(lent, true),
                }
                (login, outcome)
            }
            Err((login, failure)) => (login, Err(failure)),
        };
        if let Err(Failure::Lost { sessions_alive, .. }) = &outcome {
            self.pool.forget(login, *sessions_alive);
        }
        outcome
    }
}
