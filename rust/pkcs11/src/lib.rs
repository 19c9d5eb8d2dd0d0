//! Root keys on any PKCS#11 token.
//!
//! A token is used through a pool of sessions. Whatever breaks a session, a login or a handle is answered the same way:
//! drop all of them, log in again, find the keys again by label, and retry what may be retried.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::mechanism::Mechanism;
use cryptoki::session::Session;
use icehouse_core::secret::{DataKey, Node};
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

pub mod error;
mod key;
pub mod module;
pub mod profile;
mod session;

pub use error::{Error, Result};
pub use module::Config;

use error::{translate, Failure};
use profile::Profile;
use session::{Facts, Handle, Lent, Pool};

const WRAP_VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const WRAPPED_LEN: usize = 1 + NONCE_LEN + 32 + 16;

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
    /// The name of the profile that its manufacturer was given.
    pub profile: &'static Profile,
    /// Its manufacturer.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Whether its module calls its slot hardware.
    pub hardware: bool,
}

/// One token of one module, logged in.
pub struct Token {
    pool: Pool,
    facts: Facts,
    // Labels that this process has met on the token: where they all vanish at once, the token is away.
    met: Mutex<BTreeSet<String>>,
}

/// How the retry after a lost session goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Once,
    Never,
}

impl Token {
    /// Loads the module, finds the token and logs in.
    pub fn open(config: Config) -> Result<Self> {
        let pool = Pool::new(config);
        let facts = pool.facts().map_err(settled)?;
        Ok(Self {
            pool,
            facts,
            met: Mutex::default(),
        })
    }

    /// What the token says of itself.
    #[must_use]
    pub fn info(&self) -> Info {
        Info {
            profile: self.facts.profile,
            manufacturer: self.facts.info.manufacturer_id().trim_end().to_owned(),
            model: self.facts.info.model().trim_end().to_owned(),
            hardware: self.facts.hardware,
        }
    }

    /// Lets go of every session.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Makes a key inside the token; a label that exists is refused.
    pub fn create_key(&self, label: &str, kind: Kind) -> Result<()> {
        self.run(Retry::Once, |lent| match self.labelled(lent, label)?[..] {
            [] => Ok(()),
            _ => Err(
                Error::refused(format!("the token already has a key labelled '{label}'")).into(),
            ),
        })?;
        let made = self.run(Retry::Never, |lent| self.generate(lent, label, kind));
        match made {
            Err(Failed::Lost(why)) => self.was_created(label, kind, &why)?,
            other => other?,
        }
        self.met().insert(label.to_owned());
        Ok(())
    }

    fn generate(&self, lent: &Lent, label: &str, kind: Kind) -> Attempt<()> {
        let made = key::generate(&lent.session, self.profile(), label, kind)?;
        // Another process may have made the same label meanwhile: then ours, by its handle, goes again.
        if self.labelled(lent, label)?.len() > 1 {
            for object in made {
                self.done(lent.session.destroy_object(object))?;
            }
            return Err(
                Error::refused(format!("the token already has a key labelled '{label}'")).into(),
            );
        }
        Ok(())
    }

    // The session was lost while the key was made: only the token knows whether it was.
    fn was_created(&self, label: &str, kind: Kind, why: &str) -> Result<()> {
        let found = self.run(Retry::Once, |lent| self.labelled(lent, label))?;
        match found[..] {
            [handle] if handle.kind == kind => Ok(()),
            _ => Err(Error::Unavailable(format!(
                "the session was lost while the key '{label}' was made, and the token does not show it: {why}"
            ))),
        }
    }

    /// Destroys a key, and the public half of a pair, at once.
    pub fn destroy_key(&self, label: &str, kind: Kind) -> Result<()> {
        let outcome = self.run(Retry::Never, |lent| {
            let handle = self.find(lent, label, kind)?;
            let halves = key::public_objects(&lent.session, self.profile(), label)?;
            self.done(lent.session.destroy_object(handle.object))?;
            for public in halves {
                self.done(lent.session.destroy_object(public))?;
            }
            Ok(())
        });
        self.pool.forget_handle(label);
        outcome?;
        self.met().remove(label);
        Ok(())
    }

    /// The keys whose labels start with `prefix`, by label.
    pub fn keys(&self, prefix: &str) -> Result<Vec<(String, Kind)>> {
        let all = self.run(Retry::Once, |lent| {
            let all = key::all(&lent.session, self.profile())?;
            if all.is_empty() && !self.met().is_empty() {
                return Err(away());
            }
            Ok(all)
        })?;
        Ok(all
            .into_iter()
            .filter(|(label, _)| label.starts_with(prefix))
            .collect())
    }

    /// Wraps a data key: version ‖ nonce ‖ ciphertext ‖ tag, with the context authenticated.
    pub fn wrap(&self, label: &str, secret: &DataKey, context: &[u8]) -> Result<Vec<u8>> {
        let wrapped = self.run(Retry::Once, |lent| {
            let key = self.find(lent, label, Kind::Aes)?;
            let nonce = fresh_nonce();
            let (session, profile) = (&lent.session, self.profile());
            let sealed = key::encrypt(
                session,
                profile,
                key.object,
                nonce,
                secret.expose(),
                context,
            )?;
            Ok([&[WRAP_VERSION][..], &nonce, &sealed].concat())
        })?;
        if wrapped.len() == WRAPPED_LEN {
            return Ok(wrapped);
        }
        Err(Error::refused(
            "the HSM's AES-GCM gives another length than the standard says",
        ))
    }

    /// Unwraps what `wrap` made under this key with this context.
    pub fn unwrap(&self, label: &str, wrapped: &[u8], context: &[u8]) -> Result<DataKey> {
        let shut = || {
            Error::Seal(format!(
                "the wrapped key does not open under '{label}' in this context"
            ))
        };
        if wrapped.len() != WRAPPED_LEN || wrapped[0] != WRAP_VERSION {
            return Err(shut());
        }
        let mut nonce = [0u8; NONCE_LEN];
        nonce.copy_from_slice(&wrapped[1..=NONCE_LEN]);
        let sealed = &wrapped[1 + NONCE_LEN..];
        let opened = self.run(Retry::Once, |lent| {
            let key = self.find(lent, label, Kind::Aes)?;
            key::decrypt(
                &lent.session,
                self.profile(),
                key.object,
                nonce,
                sealed,
                context,
            )
        });
        match opened {
            Ok(opened) => DataKey::from_slice(&opened).map_err(|_| shut()),
            Err(Failed::WrongTag) => {
                // Modules say the same when a token is half gone. So the key must first open something of its own.
                self.run(Retry::Once, |lent| {
                    let key = self.find(lent, label, Kind::Aes)?;
                    key::round_trip(&lent.session, self.profile(), key.object)
                })?;
                Err(shut())
            }
            Err(other) => Err(other.into()),
        }
    }

    /// HMAC-SHA512 of the message.
    pub fn mac(&self, label: &str, message: &[u8]) -> Result<Node> {
        let tag = self.run(Retry::Once, |lent| {
            let key = self.find(lent, label, Kind::Hmac)?;
            self.done(
                lent.session
                    .sign(&Mechanism::Sha512Hmac, key.object, message),
            )
            .map(Zeroizing::new)
        })?;
        Node::from_slice(&tag).map_err(|why| Error::refused(why.to_string()))
    }

    /// An ECDSA signature, r ‖ s, on a digest of 32 bytes.
    pub fn sign(&self, label: &str, digest: &[u8; 32]) -> Result<[u8; 64]> {
        let signature = self.run(Retry::Once, |lent| {
            let key = self.find(lent, label, Kind::Ecdsa)?;
            self.done(lent.session.sign(&Mechanism::Ecdsa, key.object, digest))
        })?;
        <[u8; 64]>::try_from(signature)
            .map_err(|got| Error::refused(format!("the HSM signed in {} bytes, not 64", got.len())))
    }

    /// The public key of a pair, as an uncompressed SEC1 point.
    pub fn public_key(&self, label: &str) -> Result<Vec<u8>> {
        Ok(self.run(Retry::Once, |lent| {
            self.find(lent, label, Kind::Ecdsa)?;
            key::public_point(&lent.session, self.profile(), label)
        })?)
    }

    /// The attributes on which trust in a key rests, as the token tells them, by their names in the standard.
    pub fn attributes(&self, label: &str) -> Result<BTreeMap<&'static str, bool>> {
        Ok(self.run(Retry::Once, |lent| {
            let handle = self.one(lent, label)?;
            key::attributes(&lent.session, self.profile(), handle.object)
        })?)
    }

    fn profile(&self) -> &'static Profile {
        self.facts.profile
    }

    fn met(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done<T>(&self, outcome: cryptoki::error::Result<T>) -> Attempt<T> {
        outcome.map_err(|why| translate(self.profile(), why))
    }

    fn labelled(&self, lent: &Lent, label: &str) -> Attempt<Vec<Handle>> {
        key::labelled(&lent.session, self.profile(), label)
    }

    /// The handle of a key of this kind, found and checked once per login.
    fn find(&self, lent: &Lent, label: &str, kind: Kind) -> Attempt<Handle> {
        let handle = match self.pool.handle(label, lent.login) {
            Some(handle) => handle,
            None => {
                let handle = self.one(lent, label)?;
                key::check(&lent.session, self.profile(), label, handle)?;
                self.pool.remember(label, lent.login, handle);
                self.met().insert(label.to_owned());
                handle
            }
        };
        if handle.kind == kind {
            return Ok(handle);
        }
        let text = format!(
            "the key '{label}' is of kind {}; this operation needs kind {kind}",
            handle.kind
        );
        Err(Error::refused(text).into())
    }

    fn one(&self, lent: &Lent, label: &str) -> Attempt<Handle> {
        match self.labelled(lent, label)?[..] {
            [handle] => Ok(handle),
            [] => Err(self.missing(&lent.session, label)?),
            ref many => Err(Error::refused_with(
                format!(
                    "{} keys are labelled '{label}'; exactly one must be",
                    many.len()
                ),
                "remove the one that icehouse did not make",
            )
            .into()),
        }
    }

    /// A label that is not found says nothing of destruction. Where nothing met before is there, the token is away.
    fn missing(&self, session: &Session, label: &str) -> Attempt<Failure> {
        let met = self.met().clone();
        if met.is_empty() {
            return Ok(absent(label));
        }
        let all = key::all(session, self.profile())?;
        let present = all
            .iter()
            .any(|(other, _)| other != label && met.contains(other));
        Ok(if present { absent(label) } else { away() })
    }

    /// Lends a session to an attempt, and follows up on how it ends.
    fn run<T>(
        &self,
        retry: Retry,
        attempt: impl Fn(&Lent) -> Attempt<T>,
    ) -> std::result::Result<T, Failed> {
        let mut tries = if retry == Retry::Once { 2 } else { 1 };
        loop {
            tries -= 1;
            match self.once(&attempt) {
                Err(Failure::Lost { .. }) if tries > 0 => {}
                Err(Failure::Lost { why, .. }) => return Err(Failed::Lost(why)),
                Err(Failure::WrongTag) => return Err(Failed::WrongTag),
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

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.facts.info.label())
    }
}

type Attempt<T> = std::result::Result<T, Failure>;

/// How an operation ended that did not succeed, after its retries.
enum Failed {
    Lost(String),
    WrongTag,
    Is(Error),
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Lost(why) => Self::Unavailable(format!("the HSM cannot be reached: {why}")),
            Failed::WrongTag => Self::Unavailable("the HSM's AES-GCM does not work".into()),
            Failed::Is(err) => err,
        }
    }
}

fn settled(failure: Failure) -> Error {
    match failure {
        Failure::Lost { why, .. } => Failed::Lost(why).into(),
        Failure::WrongTag => Failed::WrongTag.into(),
        Failure::Is(err) => err,
    }
}

fn absent(label: &str) -> Failure {
    Error::refused(format!("the token has no key labelled '{label}'")).into()
}

fn away() -> Failure {
    Failure::Lost {
        why: "the token shows none of its keys".into(),
        sessions_alive: true,
    }
}

fn fresh_nonce() -> [u8; NONCE_LEN] {
    let mut nonce = [0u8; NONCE_LEN];
    OsRng.fill_bytes(&mut nonce);
    nonce
}
