//! Sealed records: one participant's scalar under a data key, bound to every deciding column.

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use hkdf::Hkdf;
use rand_core::{CryptoRngCore, OsRng};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::polynomial::Share;
use crate::secret::{DataKey, MacKey};
use crate::suite::SuiteId;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;

/// A key's row: its public facts and every other column that decides something.
#[derive(Debug, Clone)]
pub struct Row {
    /// The public facts at the current epoch; epoch 0 while nothing is committed.
    pub group: Group,
    /// The number the next offer will take.
    pub next_epoch: u64,
    /// `dealt` until a device has proved, then `live`.
    pub state: String,
    /// How the key was made.
    pub origin: String,
    /// Whether the HSM that protects it is one.
    pub attested: bool,
    /// The salt of the enrolment code in force.
    pub salt: Option<[u8; 16]>,
    /// The offer that made the current epoch.
    pub offer_id: Option<[u8; 16]>,
    /// The offer that stands: a row of offers that vanishes, or appears, is noticed.
    pub standing: Option<[u8; 16]>,
}

/// What a record holds for its row.
#[derive(Debug, Clone, Copy)]
pub enum Role<'a> {
    /// The server's share of the current epoch.
    Current,
    /// The device's share of a key that no device has claimed.
    Claim,
    /// The server's share of an offered epoch.
    Pending(Pending<'a>),
}

/// The columns of a standing offer.
#[derive(Debug, Clone, Copy)]
pub struct Pending<'a> {
    /// The offered epoch.
    pub epoch: u64,
    /// The offered commitments.
    pub commitments: &'a [Vec<u8>],
    /// The offer's id.
    pub offer_id: &'a [u8; 16],
    /// The X25519 key the offer is sealed to.
    pub device_key: &'a [u8; 32],
    /// Seconds since 1970 after which a later claim may replace the offer.
    pub expires: u64,
    /// The offer as it was answered.
    pub payload: &'a [u8],
}

impl Row {
    /// The row that a new 2-of-2 key `[user, server]` starts with, whatever its custody.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn dealt(
        vault: [u8; 16],
        user: &str,
        suite: SuiteId,
        server: &str,
        origin: &str,
        attested: bool,
        commitments: Vec<Vec<u8>>,
    ) -> Result<Self> {
        let participants = vec![user.to_owned(), server.to_owned()];
        Ok(Self {
            group: Group::new(
                vault,
                user.to_owned(),
                suite,
                0,
                2,
                participants,
                0,
                commitments,
            )?,
            next_epoch: 1,
            state: "dealt".into(),
            origin: origin.into(),
            attested,
            salt: None,
            offer_id: None,
            standing: None,
        })
    }

    /// The associated data of a record of this row.
    #[must_use]
    pub fn context(&self, role: Role<'_>, data_key: u64, participant: u16) -> Vec<u8> {
        let group = &self.group;
        let context = Context::new("row")
            .text(match role {
                Role::Current => "current",
                Role::Claim => "claim",
                Role::Pending(_) => "pending",
            })
            .bytes(&group.vault)
            .bytes(&group.key)
            .text(&group.user)
            .text(group.suite.context_string())
            .number(group.generation)
            .number(group.threshold.into())
            .number(group.participants.len() as u64)
            .each(group.participants.iter().map(String::as_bytes))
            .number(group.epoch)
            .number(self.next_epoch)
            .text(&self.state)
            .text(&self.origin)
            .number(self.attested.into())
            .each(group.commitments.iter().map(Vec::as_slice))
            .bytes(self.salt.as_ref().map_or(&[], |salt| &salt[..]))
            .bytes(self.offer_id.as_ref().map_or(&[], |id| &id[..]))
            .bytes(self.standing.as_ref().map_or(&[], |id| &id[..]))
            .number(data_key)
            .number(participant.into());
        match role {
            Role::Current | Role::Claim => context.finish(),
            Role::Pending(pending) => context
                .number(pending.epoch)
                .each(pending.commitments.iter().map(Vec::as_slice))
                .bytes(pending.offer_id)
                .bytes(pending.device_key)
                .number(pending.expires)
                .bytes(&Sha256::digest(pending.payload))
                .finish(),
        }
    }
}

/// A data key made ready to seal and open many records.
pub struct Sealer(Aes256GcmSiv);

impl Sealer {
    /// Expands the key once.
    #[must_use]
    pub fn new(key: &DataKey) -> Self {
        Self(Aes256GcmSiv::new(key.expose().into()))
    }

    /// `0x01 ‖ nonce ‖ ciphertext ‖ tag` with a random nonce from `rng`.
    pub fn seal<R: CryptoRngCore>(
        &self,
        share: &Share,
        aad: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let sealed = self
            .0
            .encrypt(
                Nonce::from_slice(&nonce),
                Payload {
                    msg: share.expose(),
                    aad,
                },
            )
            .map_err(|_| Error::seal("the record is too long to seal"))?;
        let mut record = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        record.push(VERSION);
        record.extend_from_slice(&nonce);
        record.extend_from_slice(&sealed);
        Ok(record)
    }

    /// Opens a record in its context, or says that it is not the one that was sealed there.
    pub fn open(&self, group: &Group, record: &[u8], aad: &[u8]) -> Result<Share> {
        if record.first() != Some(&VERSION) || record.len() < 1 + NONCE_LEN {
            return Err(Error::seal("the sealed record is not of version 1"));
        }
        let (nonce, sealed) = record[1..].split_at(NONCE_LEN);
        let plain = self.0.decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad }).map_err(|_| {
            Error::seal(
                "the sealed record does not open: it, or a column bound to it, was changed or moved",
            )
        })?;
        let plain = Zeroizing::new(plain);
        Share::from_bytes(group.suite, &plain)
            .map_err(|_| Error::seal("the sealed record holds no scalar of the key's suite"))
    }
}

/// Seals one share with a nonce from the operating system.
pub fn seal(key: &DataKey, share: &Share, aad: &[u8]) -> Result<Vec<u8>> {
    Sealer::new(key).seal(share, aad, &mut OsRng)
}

/// The enrolment code of this salt.
#[must_use]
pub fn enrolment_code(
    claim_key: &DataKey,
    vault: &[u8; 16],
    key: &[u8; 16],
    salt: &[u8; 16],
) -> MacKey {
    let info = Context::new("code")
        .bytes(vault)
        .bytes(key)
        .bytes(salt)
        .finish();
    let hkdf = Hkdf::<Sha256>::from_prk(claim_key.expose()).expect("32 bytes are a PRK of SHA-256");
    expand(&hkdf, &info)
}

/// The channel key that a device and the server's share of `epoch` have in common.
#[must_use]
pub fn channel_key(share: &Share, group: &Group, device: u16, epoch: u64) -> MacKey {
    let salt = Context::new("channel").finish();
    let info = Context::new("channel")
        .bytes(&group.vault)
        .bytes(&group.key)
        .number(device.into())
        .number(epoch)
        .finish();
    expand(&Hkdf::<Sha256>::new(Some(&salt), share.expose()), &info)
}

fn expand(hkdf: &Hkdf<Sha256>, info: &[u8]) -> MacKey {
    let mut okm = Zeroizing::new([0u8; 32]);
    hkdf.expand(info, okm.as_mut())
        .expect("32 bytes are within HKDF's limit");
    MacKey::from_slice(okm.as_ref()).expect("the buffer has the key's length")
}
