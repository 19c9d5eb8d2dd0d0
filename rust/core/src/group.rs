//! The public facts of a key at an epoch.

use crate::context::{key_id, Context};
use crate::error::{Error, Result};
use crate::suite::{decode, with_suite, Suite, SuiteId};
use crate::wire::MAX_INTEGER;

/// The public facts of a key at an epoch. Made by constructors that check them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub(crate) vault: [u8; 16],
    pub(crate) key: [u8; 16],
    pub(crate) user: String,
    pub(crate) suite: SuiteId,
    pub(crate) generation: u64,
    pub(crate) threshold: u16,
    pub(crate) participants: Vec<String>,
    pub(crate) epoch: u64,
    pub(crate) commitments: Vec<Vec<u8>>,
}

/// Refuses a name that is not 1–255 bytes.
pub fn check_name(name: &str) -> Result<()> {
    if (1..=255).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::request(format!(
        "a name must be 1 to 255 bytes of UTF-8, not {}",
        name.len()
    )))
}

/// Refuses a shape that FROST cannot have or that the formats cannot carry.
pub fn check_shape(threshold: u16, participants: &[String]) -> Result<()> {
    let n = participants.len();
    if !(2..=255).contains(&n) {
        return Err(Error::request(format!(
            "a key has 2 to 255 participants, not {n}"
        )));
    }
    if threshold < 2 || usize::from(threshold) > n {
        return Err(Error::request(format!(
            "threshold must be between 2 and the number of participants ({n}), not {threshold}"
        )));
    }
    for (index, name) in participants.iter().enumerate() {
        check_name(name)?;
        if participants[..index].contains(name) {
            return Err(Error::request(format!(
                "participant {name:?} is listed twice"
            )));
        }
    }
    Ok(())
}

impl Group {
    /// Checks shape and names; commitments are decoded when they are used.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        vault: [u8; 16],
        user: String,
        suite: SuiteId,
        generation: u64,
        threshold: u16,
        participants: Vec<String>,
        epoch: u64,
        commitments: Vec<Vec<u8>>,
    ) -> Result<Self> {
        check_name(&user)?;
        check_shape(threshold, &participants)?;
        if commitments.len() != usize::from(threshold) {
            return Err(Error::malformed(format!(
                "a key of threshold {threshold} has {threshold} commitments, not {}",
                commitments.len()
            )));
        }
        if generation >= MAX_INTEGER || epoch >= MAX_INTEGER {
            return Err(Error::malformed("an integer is not below 2^53"));
        }
        let key = key_id(&vault, &user, suite.context_string(), generation);
        Ok(Self {
            vault,
            key,
            user,
            suite,
            generation,
            threshold,
            participants,
            epoch,
            commitments,
        })
    }

    /// The key's id, computed from vault, user, suite and generation.
    #[must_use]
    pub fn key_id(&self) -> [u8; 16] {
        self.key
    }

    /// The ciphersuite.
    #[must_use]
    pub fn suite(&self) -> SuiteId {
        self.suite
    }

    /// The epoch these facts are of.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The user who owns the key.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// `a_k · G`, threshold of them.
    #[must_use]
    pub fn commitments(&self) -> &[Vec<u8>] {
        &self.commitments
    }

    /// The public key as a verifier wants it.
    pub fn public_key(&self) -> Result<Vec<u8>> {
        with_suite!(self.suite, C => C::public_key(&decode::<C>(&self.commitments[0])?))
    }

    /// The number of a participant, counted from 1.
    pub fn number_of(&self, name: &str) -> Result<u16> {
        self.participants
            .iter()
            .position(|participant| participant == name)
            .and_then(|index| u16::try_from(index + 1).ok())
            .ok_or_else(|| Error::request(format!("{name:?} is no participant of this key")))
    }

    /// `G`, the canonical bytes of FORMATS "Group".
    pub fn canonical(&self) -> Result<Vec<u8>> {
        let context = Context::new("group")
            .bytes(&self.vault)
            .bytes(&self.key)
            .text(&self.user)
            .text(self.suite.context_string())
            .number(self.generation)
            .number(self.threshold.into())
            .number(self.participants.len() as u64)
            .each(self.participants.iter().map(String::as_bytes))
            .number(self.epoch)
            .bytes(&self.public_key()?)
            .each(self.commitments.iter().map(Vec::as_slice));
        Ok(context.finish())
    }

    /// `ctx("proof", G, offer_id, device_key)`: what both sides sign to commit an offer.
    pub fn proof_message(&self, offer_id: &[u8; 16], device_key: &[u8; 32]) -> Result<Vec<u8>> {
        Ok(Context::new("proof")
            .bytes(&self.canonical()?)
            .bytes(offer_id)
            .bytes(device_key)
            .finish())
    }
}
