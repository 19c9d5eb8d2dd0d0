//! Making keys and destroying them: what is not simply repeated when the session was lost in the middle of it.

use cryptoki::error::{Error as Cryptoki, RvError};
use rand_core::{OsRng, RngCore};

use crate::attempt::{Attempt, Failed, Retry};
use crate::error::{Error, Failure, Result};
use crate::handle::Handle;
use crate::key;
use crate::patience::pause;
use crate::session::Lent;
use crate::slots;
use crate::token::{of_kind, unsettled, Token};
use crate::Kind;

// How often a key's making or destruction is tried, when the session is lost and the token does not show that it was done.
const TRIES: u32 = 3;
// A token that says it has fewer bytes free than this has no room for a key.
const ONE_KEY: usize = 1024;

impl Token {
    /// Makes a key inside the token; a label that exists is refused.
    pub fn create_key(&self, label: &str, kind: Kind) -> Result<()> {
        let _turn = self.turn();
        self.serves(label, kind)?;
        self.run(Retry::Once, |lent| match self.labelled(lent, label)?[..] {
            [] => Ok(()),
            _ => Err(taken(label).into()),
        })?;
        self.make(label, kind)?;
        self.settling.made(label);
        self.met().insert(label.to_owned());
        Ok(())
    }

    fn make(&self, label: &str, kind: Kind) -> Result<()> {
        // One for all tries: by it, a key that an earlier try made is told from another process's of the same label.
        let mut mark = key::Mark::default();
        OsRng.fill_bytes(&mut mark);
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let made = self.run(Retry::Never, |lent| self.generate(lent, label, kind, &mark));
            let (why, busy) = match made {
                Err(Failed::Lost(why)) => (why, false),
                Err(Failed::NoMemory(_)) if !self.profile().full.is_empty() => return Err(full()),
                Err(Failed::NoMemory(why)) => (why, true),
                other => return Ok(other?),
            };
            // Only the token knows whether the key was made.
            self.settling.made(label);
            match self.shown(label, &mark)? {
                Shown::Ours => return Ok(()),
                Shown::Anothers => return Err(taken(label)),
                Shown::Nothing if tries > 0 && busy => pause(TRIES - tries),
                Shown::Nothing if tries > 0 => {}
                Shown::Nothing if busy => return Err(self.without_memory(why)?),
                Shown::Nothing => return Err(Error::Unavailable(format!(
                    "the session was lost while the key '{label}' was made, and the token does not show it: {why}"
                ))),
            }
        }
    }

    /// What the token shows of a label whose key may have been made a moment ago.
    fn shown(&self, label: &str, mark: &key::Mark) -> std::result::Result<Shown, Failed> {
        self.run(Retry::Once, |lent| {
            let listed = self.looked_again(lent, label)?;
            if listed.is_empty() && self.settling.waits_for(label) {
                return Err(unsettled(label));
            }
            if listed.is_empty() {
                return Ok(Shown::Nothing);
            }
            let others = key::of_others(&lent.session, self.profile(), &listed, mark)?;
            Ok(if others > 0 {
                Shown::Anothers
            } else {
                Shown::Ours
            })
        })
    }

    /// What it means that a module goes on saying that it has no memory: it is full where the token says so, too.
    fn without_memory(&self, why: String) -> std::result::Result<Error, Failed> {
        let free = self.run(Retry::Once, |lent| {
            let told = slots::told(self.pool.module(), lent.slot);
            Ok(self.done(told)?.free_private_memory())
        })?;
        Ok(match free {
            Some(free) if free < ONE_KEY => full(),
            _ => Failed::NoMemory(why).into(),
        })
    }

    fn generate(&self, lent: &Lent, label: &str, kind: Kind, mark: &key::Mark) -> Attempt<()> {
        let made = key::generate(&self.talk(lent), label, kind, mark)?;
        // Another process may have made the same label meanwhile: then ours, by its handle, goes again. Two of a label may
        // also be ours, listed twice.
        let listed = self.labelled(lent, label)?;
        if listed.len() > 1 && key::of_others(&lent.session, self.profile(), &listed, mark)? > 0 {
            for object in made {
                self.done(lent.session.destroy_object(object))?;
            }
            return Err(taken(label).into());
        }
        Ok(())
    }

    /// Destroys a key, and the public half of a pair, at once.
    pub fn destroy_key(&self, label: &str, kind: Kind) -> Result<()> {
        let _turn = self.turn();
        self.run(Retry::Once, |lent| self.doomed(lent, label, kind))?;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let outcome = self.run(Retry::Never, |lent| self.destroy(lent, label, kind));
            self.pool.forget_handle(label);
            match outcome {
                Err(Failed::Lost(_)) if tries > 0 && self.is_gone(label)? => break,
                Err(Failed::Lost(_)) if tries > 0 => {}
                other => break other?,
            }
        }
        self.settling.destroyed(label);
        self.met().remove(label);
        Ok(())
    }

    // Not `find`: a key that must not be trusted may still be destroyed.
    fn doomed(&self, lent: &Lent, label: &str, kind: Kind) -> Attempt<Handle> {
        let handle = self.one(lent, label)?;
        of_kind(label, handle, kind)?;
        Ok(handle)
    }

    fn destroy(&self, lent: &Lent, label: &str, kind: Kind) -> Attempt<()> {
        let handle = self.doomed(lent, label, kind)?;
        // The public half goes first. Where the session is lost in between, the private one is still there to be found,
        // and the next try ends it.
        for public in key::public_objects(&lent.session, self.profile(), label)? {
            match lent.session.destroy_object(public) {
                // It was listed twice.
                Err(Cryptoki::Pkcs11(RvError::ObjectHandleInvalid, _)) => {}
                other => self.done(other)?,
            }
        }
        self.done(lent.session.destroy_object(handle.object))
    }

    /// Whether a key whose destruction was not answered is gone: the token must show others that were met before.
    fn is_gone(&self, label: &str) -> std::result::Result<bool, Failed> {
        self.run(Retry::Once, |lent| {
            if !self.looked_again(lent, label)?.is_empty() {
                return Ok(false);
            }
            match self.missing(lent, label)? {
                Failure::Is(_) => Ok(true),
                away => Err(away),
            }
        })
    }
}

/// What a token shows of a label.
enum Shown {
    Nothing,
    Ours,
    Anothers,
}

fn taken(label: &str) -> Error {
    Error::refused(format!("the token already has a key labelled '{label}'"))
}

fn full() -> Error {
    Error::refused("the token has no room for another key")
}
