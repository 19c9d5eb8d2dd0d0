//! Keys that a cluster may not know everywhere yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Kind;

const MANY: usize = 1024;

struct Wait {
    // Whether this process made the key, so that a list without it is not complete.
    made: bool,
    until: Instant,
}

/// Until when a label that is not found is looked for again: a while after it was made here or, for a label that
/// somebody else may have made, after it was first missed.
pub(crate) struct Settling {
    long: Duration,
    waits: Mutex<HashMap<String, Wait>>,
}

impl Settling {
    pub fn new(long: Duration) -> Self {
        Self {
            long,
            waits: Mutex::default(),
        }
    }

    fn waits(&self) -> MutexGuard<'_, HashMap<String, Wait>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This process made a key, or may have.
    pub fn made(&self, label: &str) {
        self.until(label, true, Instant::now() + self.long);
    }

    /// This process destroyed a key.
    pub fn destroyed(&self, label: &str) {
        self.until(label, false, Instant::now());
    }

    fn until(&self, label: &str, made: bool, until: Instant) {
        if self.long.is_zero() {
            return;
        }
        let mut waits = self.waits();
        if waits.len() >= MANY {
            let now = Instant::now();
            waits.retain(|_, wait| wait.until > now);
        }
        waits.insert(label.to_owned(), Wait { made, until });
    }

    /// Whether a label that was not found may still come up.
    pub fn waits_for(&self, label: &str) -> bool {
        if self.long.is_zero() {
            return false;
        }
        let known = self.waits().get(label).map(|wait| wait.until);
        match known {
            Some(until) => Instant::now() < until,
            None => {
                self.until(label, false, Instant::now() + self.long);
                true
            }
        }
    }

    /// Whether a list of all keys lacks one that was made here a moment ago.
    pub fn lacks(&self, listed: &[(String, Kind)]) -> bool {
        let now = Instant::now();
        self.waits().iter().any(|(label, wait)| {
            wait.made && wait.until > now && !listed.iter().any(|(other, _)| other == label)
        })
    }
}
