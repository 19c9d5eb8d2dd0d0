//! One token, and the operations that icehouse asks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::mechanism::Mechanism;
use icehouse_core::secret::{DataKey, Node};
use zeroize::Zeroizing;

use crate::attempt::{settled, Attempt, Failed, Retry};
use crate::error::{translate, Error, Failure, Result};
use crate::facts::Facts;
use crate::gcm::{self, NONCE_LEN, TAG_LEN};
use crate::handle::Handle;
use crate::key::{self, LOOKS};
use crate::mechanisms::{remedy, ECDSA, HMAC};
use crate::module::Config;
use crate::patience::pause;
use crate::profile::Profile;
use crate::self_test;
use crate::session::{Lent, Pool};
use crate::settling::Settling;
use crate::slots::trimmed;
use crate::talk::Talk;
use crate::{Info, Kind};

const WRAP_VERSION: u8 = 1;
const WRAPPED_LEN: usize = 1 + NONCE_LEN + 32 + TAG_LEN;

/// One token of one module, logged in.
pub struct Token {
    pub(crate) pool: Pool,
    facts: Facts,
    // Labels that this process has met on the token: where they all vanish at once, the token is away.
    met: Mutex<BTreeSet<String>>,
    pub(crate) settling: Settling,
    // The login in which something was first not found.
    doubted: Mutex<Option<u64>>,
    // Held while keys are made or destroyed: SoftHSM fails at it when threads do both at once.
    changing: Mutex<()>,
}

impl Token {
    /// Loads the module, finds the token and logs in.
    pub fn open(config: Config) -> Result<Self> {
        let pool = Pool::new(config).map_err(settled)?;
        let facts = pool.open().map_err(settled)?;
        Ok(Self {
            pool,
            settling: Settling::new(facts.profile.settling),
            facts,
            met: Mutex::default(),
            doubted: Mutex::default(),
            changing: Mutex::default(),
        })
    }

    /// What the token says of itself.
    #[must_use]
    pub fn info(&self) -> Info {
        Info {
            profile: self.facts.profile,
            manufacturer: trimmed(self.facts.info.manufacturer_id()).to_owned(),
            model: trimmed(self.facts.info.model()).to_owned(),
            hardware: self.facts.hardware,
            missing: self.facts.missing.clone(),
            remedy: remedy(&self.facts.library),
        }
    }

    /// Lets go of every session.
    pub fn close(&self) {
        self.pool.close();
    }

    /// The keys whose labels start with `prefix`, by label.
    pub fn keys(&self, prefix: &str) -> Result<Vec<(String, Kind)>> {
        let all = self.run(Retry::Once, |lent| {
            self.pool.still_logged_in(lent, self.profile())?;
            let all = key::all(&lent.session, self.profile())?;
            self.pool.still_logged_in(lent, self.profile())?;
            if self.settling.lacks(&all) {
                return Err(Failure::Unsettled("a new key is not listed yet".into()));
            }
            if all.is_empty() && !(self.met().is_empty() && self.believes(lent)) {
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
            let sealed = gcm::encrypt(
                &self.talk(lent),
                label,
                key.object,
                secret.expose(),
                context,
            )?;
            Ok([&[WRAP_VERSION][..], &sealed].concat())
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
        let sealed = &wrapped[1..];
        let open = || {
            self.run(Retry::Once, |lent| {
                let key = self.find(lent, label, Kind::Aes)?;
                gcm::decrypt(&self.talk(lent), label, key.object, sealed, context)
            })
        };
        let mut opened = open();
        if matches!(opened, Err(Failed::WrongTag)) {
            // Modules say the same when a token is half gone. So the key must open something of its own, and then the
            // tag must not fit once more: the token may have come back in between.
            self.run(Retry::Once, |lent| {
                let key = self.find(lent, label, Kind::Aes)?;
                self_test::round_trip(&self.talk(lent), label, key.object)
            })?;
            opened = open();
        }
        match opened {
            Ok(opened) => DataKey::from_slice(&opened).map_err(|_| shut()),
            Err(Failed::WrongTag) => Err(shut()),
            Err(other) => Err(other.into()),
        }
    }

    /// HMAC-SHA512 of the message.
    pub fn mac(&self, label: &str, message: &[u8]) -> Result<Node> {
        let tag = self.run(Retry::Once, |lent| {
            let key = self.find(lent, label, Kind::Hmac)?;
            let talk = self.talk(lent);
            talk.sign(&Mechanism::Sha512Hmac, key.object, message)
                .map(Zeroizing::new)
                .map_err(|why| talk.meaning(HMAC.1, label, why))
        })?;
        Node::from_slice(&tag).map_err(|why| Error::refused(why.to_string()))
    }

    /// An ECDSA signature, r ‖ s, on a digest of 32 bytes.
    pub fn sign(&self, label: &str, digest: &[u8; 32]) -> Result<[u8; 64]> {
        let signature = self.run(Retry::Once, |lent| {
            let key = self.find(lent, label, Kind::Ecdsa)?;
            let talk = self.talk(lent);
            talk.sign(&Mechanism::Ecdsa, key.object, digest)
                .map_err(|why| talk.meaning(ECDSA.1, label, why))
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

    pub(crate) fn talk<'t>(&'t self, lent: &'t Lent) -> Talk<'t> {
        Talk {
            session: &lent.session,
            module: self.pool.module(),
            facts: &self.facts,
        }
    }

    /// Refuses a key of a kind whose mechanisms the module does not have.
    pub(crate) fn serves(&self, label: &str, kind: Kind) -> Result<()> {
        self.facts.missing.check(kind, label, &self.facts.library)
    }

    pub(crate) fn profile(&self) -> &'static Profile {
        self.facts.profile
    }

    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn met(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn done<T>(&self, outcome: cryptoki::error::Result<T>) -> Attempt<T> {
        outcome.map_err(|why| translate(self.profile(), why))
    }

    /// Every key of this label. Two are believed only when they are seen again and again: a module may list an object
    /// twice while another process changes the token.
    pub(crate) fn labelled(&self, lent: &Lent, label: &str) -> Attempt<Vec<Handle>> {
        let look = || key::labelled(&lent.session, self.profile(), label);
        let mut found = look()?;
        for turn in 0..LOOKS {
            if found.len() < 2 {
                break;
            }
            pause(turn);
            found = look()?;
        }
        if !found.is_empty() {
            return Ok(found);
        }
        // A session that was opened after the token lost its login shows nothing, and may be logged in since by another.
        self.pool.still_logged_in(lent, self.profile())?;
        let found = look()?;
        self.pool.still_logged_in(lent, self.profile())?;
        Ok(found)
    }

    /// The same for a label that should be there: none is not believed at once either.
    pub(crate) fn looked_again(&self, lent: &Lent, label: &str) -> Attempt<Vec<Handle>> {
        for turn in 0..LOOKS {
            let found = self.labelled(lent, label)?;
            if !found.is_empty() {
                return Ok(found);
            }
            pause(turn);
        }
        self.labelled(lent, label)
    }

    /// The handle of a key of this kind, found and checked once per login.
    fn find(&self, lent: &Lent, label: &str, kind: Kind) -> Attempt<Handle> {
        let handle = match self.pool.handle(label, lent.login) {
            Some(handle) => handle,
            None => {
                let handle = self.one(lent, label)?;
                key::check(&lent.session, self.profile(), label, handle)?;
                self.serves(label, handle.kind)?;
                self_test::of_key(&self.talk(lent), label, handle)?;
                self.pool.remember(label, lent.login, handle);
                self.met().insert(label.to_owned());
                handle
            }
        };
        of_kind(label, handle, kind)?;
        Ok(handle)
    }

    pub(crate) fn one(&self, lent: &Lent, label: &str) -> Attempt<Handle> {
        match self.looked_again(lent, label)?[..] {
            [handle] => Ok(handle),
            [] if self.settling.waits_for(label) => Err(unsettled(label)),
            [] => Err(self.missing(lent, label)?),
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
    pub(crate) fn missing(&self, lent: &Lent, label: &str) -> Attempt<Failure> {
        let met = self.met().clone();
        let there = if met.is_empty() {
            self.believes(lent)
        } else {
            key::all(&lent.session, self.profile())?
                .iter()
                .any(|(other, _)| other != label && met.contains(other))
        };
        Ok(if there { absent(label) } else { away() })
    }

    /// Whether to believe that a token which shows nothing is there: only after a login made since the first doubt.
    fn believes(&self, lent: &Lent) -> bool {
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        let believed = doubted.is_some_and(|login| login < lent.login);
        *doubted = (!believed).then_some(lent.login);
        believed
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", trimmed(self.facts.info.label()))
    }
}

pub(crate) fn of_kind(label: &str, handle: Handle, kind: Kind) -> Attempt<()> {
    if handle.kind == kind {
        return Ok(());
    }
    let text = format!(
        "the key '{label}' is of kind {}; this operation needs kind {kind}",
        handle.kind
    );
    Err(Error::refused(text).into())
}

fn absent(label: &str) -> Failure {
    Error::refused(format!("the token has no key labelled '{label}'")).into()
}

pub(crate) fn unsettled(label: &str) -> Failure {
    Failure::Unsettled(format!("the token does not show the key '{label}' yet"))
}

fn away() -> Failure {
    Failure::Lost {
        why: "the token shows none of its keys".into(),
        sessions_alive: true,
    }
}
