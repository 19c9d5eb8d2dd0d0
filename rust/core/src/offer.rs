//! Offers: the device's half of an epoch, HPKE-sealed to a key made for this one offer.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};
use rand_core_09::TryRngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::device_key::device_key;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::group_json::GroupJson;
use crate::kid::Kid;
use crate::polynomial::Share;
use crate::secret::{DeviceSecret, MacKey};
use crate::wire::{object, read_object, unhex, unhex_any};

const MAX_ESCROW: usize = 1024;

/// What the device's half is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The whole share.
    Share,
    /// What to add to the share of the message's epoch.
    Difference,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Difference => "difference",
        }
    }

    // Serde would take `{"share": null}` for the word, too.
    fn of(word: &str) -> Result<Self> {
        [Self::Share, Self::Difference]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| Error::malformed(format!("unknown kind {word:?}")))
    }
}

/// The secret half of an offer.
pub struct Half {
    /// A share or a difference.
    pub share: Share,
    /// The channel key of the offered epoch.
    pub channel: MacKey,
    /// What a vault that lost its database would need; opaque to the device.
    pub escrow: Vec<u8>,
}

/// The public facts that bind an offer.
pub struct Terms<'a> {
    /// The group at the offered epoch.
    pub group: &'a Group,
    /// What the device's half is.
    pub kind: Kind,
    /// The device's number.
    pub participant: u16,
    /// The key it is sealed to.
    pub device_key: [u8; 32],
    /// The offer's id.
    pub offer_id: [u8; 16],
}

impl Terms<'_> {
    fn aad(&self) -> Result<Vec<u8>> {
        Ok(Context::new("offer")
            .bytes(&self.group.canonical()?)
            .text(self.kind.word())
            .number(self.participant.into())
            .bytes(&self.device_key)
            .bytes(&self.offer_id)
            .finish())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfferJson {
    v: u64,
    r#type: String,
    #[serde(deserialize_with = "object")]
    group: GroupJson,
    kind: String,
    offer_id: String,
    enc: String,
    sealed: String,
    expires: String,
}

fn info() -> Vec<u8> {
    Context::new("offer").finish()
}

/// Seals the device's half and writes the offer's payload.
pub fn write_offer(
    terms: &Terms<'_>,
    half: &Half,
    psk: &MacKey,
    kid: &Kid,
    expires: &str,
) -> Result<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(128 + half.escrow.len()));
    plain.extend_from_slice(half.share.expose());
    plain.extend_from_slice(half.channel.expose());
    plain.extend_from_slice(&half.escrow);
    let refusal = |_| Error::malformed("the device key cannot be sealed to");
    let recipient =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&terms.device_key).map_err(refusal)?;
    let kid = kid.text();
    let bundle = PskBundle::new(psk.expose(), kid.as_bytes()).map_err(refusal)?;
    let (enc, sealed) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256, _>(
        &OpModeS::Psk(bundle),
        &recipient,
        &info(),
        &plain,
        &terms.aad()?,
        &mut rand_core_09::OsRng.unwrap_err(),
    )
    .map_err(refusal)?;
    let json = OfferJson {
        v: 1,
        r#type: "offer".into(),
        group: terms.group.to_wire()?,
        kind: terms.kind.word().into(),
        offer_id: hex::encode(terms.offer_id),
        enc: hex::encode(enc.to_bytes()),
        sealed: hex::encode(sealed),
        expires: expires.into(),
    };
    serde_json::to_vec(&json).map_err(|error| Error::malformed(error.to_string()))
}

/// An offer as a device reads it, its public facts checked for form.
pub struct Offer {
    /// The group at the offered epoch.
    pub group: Group,
    /// What the device's half is.
    pub kind: Kind,
    /// The offer's id.
    pub offer_id: [u8; 16],
    enc: [u8; 32],
    sealed: Vec<u8>,
}

impl Offer {
    /// Reads an authenticated payload strictly.
    pub fn read(payload: &[u8]) -> Result<Self> {
        let json: OfferJson = read_object(payload)
            .map_err(|error| Error::malformed(format!("not an offer: {error}")))?;
        if json.v != 1 || json.r#type != "offer" {
            return Err(Error::malformed("not an offer of version 1"));
        }
        check_timestamp(&json.expires)?;
        Ok(Self {
            group: Group::from_wire(&json.group)?,
            kind: Kind::of(&json.kind)?,
            offer_id: unhex(&json.offer_id)?,
            enc: unhex(&json.enc)?,
            sealed: unhex_any(&json.sealed)?,
        })
    }

    /// Opens the device's half with the key made for it and the secret both sides share.
    pub fn open(
        &self,
        secret: &DeviceSecret,
        participant: u16,
        psk: &MacKey,
        kid: &Kid,
    ) -> Result<Half> {
        let refusal =
            |_| Error::protocol("the offer does not open: it was made for another request");
        let private =
            <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(secret.expose()).map_err(refusal)?;
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&self.enc).map_err(refusal)?;
        let kid = kid.text();
        let bundle = PskBundle::new(psk.expose(), kid.as_bytes()).map_err(refusal)?;
        let terms = Terms {
            group: &self.group,
            kind: self.kind,
            participant,
            device_key: device_key(secret),
            offer_id: self.offer_id,
        };
        let plain = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Psk(bundle),
            &private,
            &enc,
            &info(),
            &self.sealed,
            &terms.aad()?,
        )
        .map_err(refusal)?;
        split(&Zeroizing::new(plain), &self.group)
    }
}

fn split(plain: &[u8], group: &Group) -> Result<Half> {
    let scalar = group.suite.scalar_len();
    if plain.len() < scalar + 32 || plain.len() > scalar + 32 + MAX_ESCROW {
        return Err(Error::protocol(
            "the offer holds another number of bytes than it must",
        ));
    }
    Ok(Half {
        share: Share::from_bytes(group.suite, &plain[..scalar])?,
        channel: MacKey::from_slice(&plain[scalar..scalar + 32])?,
        escrow: plain[scalar + 32..].to_vec(),
    })
}

fn check_timestamp(text: &str) -> Result<()> {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if shape == "0000-00-00T00:00:00Z" {
        return Ok(());
    }
    Err(Error::malformed("expires is not YYYY-MM-DDTHH:MM:SSZ"))
}
