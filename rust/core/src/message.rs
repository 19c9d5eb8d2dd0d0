//! Messages and answers: JWS in compact form, parsed strictly, authenticated before they are read.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, Mac};
use serde::de::IgnoredAny;
use serde::Deserialize;
use sha2::Sha256;

use crate::element::Signer;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::secret::MacKey;
use crate::sign::Commitment;
use crate::suite::{SuiteId, Taproot};
use crate::wire::{few, read_object, required, unhex, unhex_of, MAX_INTEGER};

/// A message to sign has at most 1 MiB; twice base64url and its JSON stay below this.
pub const MAX_COMPACT: usize = 2 << 20;
/// The longest message to sign.
pub const MAX_MESSAGE: usize = 1 << 20;
/// The longest header: a key id, and an epoch of sixteen digits.
const MAX_HEADER: usize = 90;
const MAC_LEN: usize = 32;

/// Whether a message looks like one of icehouse's own proofs, which `sign` never signs.
#[must_use]
pub fn is_reserved(message: &[u8]) -> bool {
    message
        .get(4..)
        .is_some_and(|rest| rest.starts_with(b"icehouse/"))
}

/// Whom a message speaks for: a key at an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kid {
    /// The key's id.
    pub key: [u8; 16],
    /// The epoch whose channel key authenticates; 0 for the enrolment code.
    pub epoch: u64,
}

impl Kid {
    /// `<key id hex>.<epoch>`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}.{}", hex::encode(self.key), self.epoch)
    }

    fn header(&self) -> String {
        format!(
            r#"{{"alg":"HS256","kid":"{}","typ":"icehouse"}}"#,
            self.text()
        )
    }

    fn from_header(header: &[u8]) -> Result<Self> {
        let refusal = || Error::malformed("the header is not icehouse's");
        let text = std::str::from_utf8(header).map_err(|_| refusal())?;
        let kid = text
            .strip_prefix(r#"{"alg":"HS256","kid":""#)
            .and_then(|rest| rest.strip_suffix(r#"","typ":"icehouse"}"#))
            .ok_or_else(refusal)?;
        let (key, epoch) = kid.split_once('.').ok_or_else(refusal)?;
        let own = Self {
            key: unhex(key)?,
            epoch: epoch.parse().map_err(|_| refusal())?,
        };
        // `01`, `+1` and other digits parse as numbers but are not what we would write.
        if own.epoch >= MAX_INTEGER || own.text() != kid {
            return Err(refusal());
        }
        Ok(own)
    }
}

/// A message whose form and header are right; its payload is read only with the right key.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Whom it speaks for.
    pub kid: Kid,
    compact: String,
    signed_len: usize,
    payload: Vec<u8>,
    mac: Vec<u8>,
}

impl Envelope {
    /// Parses the three parts, decodes them strictly, and compares the header as bytes.
    pub fn parse(compact: &str) -> Result<Self> {
        if compact.len() > MAX_COMPACT {
            return Err(Error::malformed("the message is too long"));
        }
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::malformed("a message has three parts"));
        };
        let kid = Kid::from_header(&from_base64(header, MAX_HEADER)?)?;
        let mac = from_base64(mac, MAC_LEN)?;
        Ok(Self {
            kid,
            compact: compact.to_owned(),
            signed_len: header.len() + 1 + payload.len(),
            payload: from_base64(payload, MAX_COMPACT)?,
            mac,
        })
    }

    /// The whole message as it came.
    #[must_use]
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// The payload, once the MAC fits.
    pub fn payload(&self, key: &MacKey) -> Result<Vec<u8>> {
        let signed = &self.compact[..self.signed_len];
        hmac(key, signed)
            .verify_slice(&self.mac)
            .map_err(|_| Error::BadMac)?;
        Ok(self.payload.clone())
    }
}

fn hmac(key: &MacKey, signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes any key");
    mac.update(signed.as_bytes());
    mac
}

/// Authenticates a payload.
#[must_use]
pub fn compact(kid: &Kid, payload: &[u8], key: &MacKey) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(kid.header()),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let mac = URL_SAFE_NO_PAD.encode(hmac(key, &signed).finalize().into_bytes());
    format!("{signed}.{mac}")
}

/// At most `most` bytes, counted before they are decoded.
fn from_base64(text: &str, most: usize) -> Result<Vec<u8>> {
    if text.len() > (most * 4).div_ceil(3) {
        return Err(Error::malformed(format!("longer than {most} bytes")));
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Error::malformed("not base64url without padding"))
}

/// What a device asks of its cosigner.
#[derive(Debug, Clone)]
pub enum Request {
    /// First shard, under the enrolment code.
    Claim {
        /// The key to seal the offer to.
        device_key: [u8; 32],
    },
    /// New shares for the same key.
    Rotate {
        /// The key to seal the offer to.
        device_key: [u8; 32],
    },
    /// The cosigner's half of a signature.
    Cosign(Cosign),
    /// The proof that commits an offer.
    Prove {
        /// Which offer.
        offer_id: [u8; 16],
        /// A signature with the offered shares.
        signature: Vec<u8>,
    },
    /// Cancel an offer.
    Abandon {
        /// Which offer.
        offer_id: [u8; 16],
    },
    /// What stands.
    Status,
}

/// A request for the cosigner's half of a signature.
#[derive(Debug, Clone)]
pub struct Cosign {
    /// `proof` rather than `sign`.
    pub proof: bool,
    /// The message to sign.
    pub message: Vec<u8>,
    /// The tweak to sign under.
    pub taproot: Taproot,
    /// Every other signer, its commitments decoded.
    pub signers: Vec<Signer>,
}

/// What a payload is, read before anything else is: whatever is in the other fields is passed over, not kept.
#[derive(Deserialize)]
struct TypeJson {
    r#type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceKeyJson {
    v: u64,
    #[serde(rename = "type")]
    _type: IgnoredAny,
    key: String,
    epoch: u64,
    participant: u64,
    device_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CosignJson {
    v: u64,
    #[serde(rename = "type")]
    _type: IgnoredAny,
    key: String,
    epoch: u64,
    purpose: String,
    message: String,
    #[serde(deserialize_with = "required")]
    taproot_root: Option<String>,
    #[serde(deserialize_with = "few")]
    commitments: Vec<CommitmentJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommitmentJson {
    participant: u64,
    hiding: String,
    binding: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProveJson {
    v: u64,
    #[serde(rename = "type")]
    _type: IgnoredAny,
    key: String,
    epoch: u64,
    offer_id: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AbandonJson {
    v: u64,
    #[serde(rename = "type")]
    _type: IgnoredAny,
    key: String,
    epoch: u64,
    offer_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusJson {
    v: u64,
    #[serde(rename = "type")]
    _type: IgnoredAny,
    key: String,
    epoch: u64,
}

fn read_json<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T> {
    read_object(payload).map_err(|error| Error::malformed(format!("not a message: {error}")))
}

/// Reads an authenticated payload for the key and epoch of its `kid`.
pub fn read_request(payload: &[u8], kid: &Kid, group: &Group) -> Result<Request> {
    // By its type first: a reader that keeps all fields until it met the type takes forty times the payload's room.
    match read_json::<TypeJson>(payload)?.r#type.as_str() {
        "claim" => read_device_key(payload, kid).map(|device_key| Request::Claim { device_key }),
        "rotate" => read_device_key(payload, kid).map(|device_key| Request::Rotate { device_key }),
        "cosign" => {
            let json: CosignJson = read_json(payload)?;
            fits(json.v, &json.key, json.epoch, kid)?;
            read_cosign(&json, group).map(Request::Cosign)
        }
        "prove" => {
            let json: ProveJson = read_json(payload)?;
            fits(json.v, &json.key, json.epoch, kid)?;
            Ok(Request::Prove {
                signature: unhex_of(&json.signature, group.suite.signature_len())
                    .map_err(|_| Error::malformed("the signature has another suite's length"))?,
                offer_id: unhex(&json.offer_id)?,
            })
        }
        "abandon" => {
            let json: AbandonJson = read_json(payload)?;
            fits(json.v, &json.key, json.epoch, kid)?;
            Ok(Request::Abandon {
                offer_id: unhex(&json.offer_id)?,
            })
        }
        "status" => {
            let json: StatusJson = read_json(payload)?;
            fits(json.v, &json.key, json.epoch, kid)?;
            Ok(Request::Status)
        }
        _ => Err(Error::malformed("unknown type of message")),
    }
}

fn read_device_key(payload: &[u8], kid: &Kid) -> Result<[u8; 32]> {
    let json: DeviceKeyJson = read_json(payload)?;
    fits(json.v, &json.key, json.epoch, kid)?;
    device_key_of(json.participant, &json.device_key)
}

pub(crate) fn fits(v: u64, key: &str, epoch: u64, kid: &Kid) -> Result<()> {
    if v == 1 && epoch == kid.epoch && unhex::<16>(key)? == kid.key {
        return Ok(());
    }
    Err(Error::malformed(
        "version, key or epoch are not those of the header",
    ))
}

fn device_key_of(participant: u64, device_key: &str) -> Result<[u8; 32]> {
    if participant != 1 {
        return Err(Error::malformed("the device is participant 1"));
    }
    let bytes = unhex(device_key)?;
    crate::offer::check_device_key(&bytes)?;
    Ok(bytes)
}

fn read_cosign(json: &CosignJson, group: &Group) -> Result<Cosign> {
    let proof = match json.purpose.as_str() {
        "sign" => false,
        "proof" => true,
        other => return Err(Error::malformed(format!("unknown purpose {other:?}"))),
    };
    let taproot = taproot_from(json.taproot_root.as_deref(), group.suite)?;
    if proof && taproot != Taproot::Untweaked {
        return Err(Error::malformed("a proof is signed without a tweak"));
    }
    let message = from_base64(&json.message, MAX_MESSAGE)
        .map_err(|_| Error::malformed("a message to sign is base64url of at most 1 MiB"))?;
    // All of them are counted and compared before the first is decoded: one decoding costs more than all the rest.
    check_listed(&json.commitments, group)?;
    let signers = json
        .commitments
        .iter()
        .map(|listed| read_commitment(listed, group.suite))
        .collect::<Result<Vec<_>>>()?;
    Ok(Cosign {
        proof,
        message,
        taproot,
        signers,
    })
}

/// `null`, `""` or 64 hex digits, as FORMATS "Signing" gives them meaning.
pub fn taproot_from(root: Option<&str>, suite: SuiteId) -> Result<Taproot> {
    let taproot = match root {
        None => Taproot::Untweaked,
        Some("") => Taproot::KeyPath,
        Some(root) => Taproot::Root(unhex(root)?),
    };
    if taproot != Taproot::Untweaked && suite != SuiteId::Secp256k1Tr {
        return Err(Error::malformed("taproot_root is for secp256k1-tr only"));
    }
    Ok(taproot)
}

fn taproot_text(taproot: &Taproot) -> Option<String> {
    match taproot {
        Taproot::Untweaked => None,
        Taproot::KeyPath => Some(String::new()),
        Taproot::Root(root) => Some(hex::encode(root)),
    }
}

/// The sender is participant 1, the cosigner the last; every signer but the cosigner is listed, once and in order.
fn check_listed(listed: &[CommitmentJson], group: &Group) -> Result<()> {
    let others = group.participants.len() as u64 - 1;
    let ordered = listed
        .windows(2)
        .all(|pair| pair[0].participant < pair[1].participant);
    let sender = listed.first().is_some_and(|one| one.participant == 1);
    let last = listed.last().is_some_and(|one| one.participant <= others);
    if !ordered || !sender || !last || listed.len() + 1 < usize::from(group.threshold) {
        return Err(Error::malformed(
            "commitments must list every other signer once, in order",
        ));
    }
    let digits = 2 * group.suite.element_len();
    if listed
        .iter()
        .any(|one| one.hiding.len() != digits || one.binding.len() != digits)
    {
        return Err(Error::malformed("a commitment has another suite's length"));
    }
    Ok(())
}

fn read_commitment(json: &CommitmentJson, suite: SuiteId) -> Result<Signer> {
    let commitment = Commitment {
        participant: u16::try_from(json.participant)
            .map_err(|_| Error::malformed("a participant's number is out of range"))?,
        hiding: unhex_of(&json.hiding, suite.element_len())?,
        binding: unhex_of(&json.binding, suite.element_len())?,
    };
    Signer::read(suite, commitment)
}

/// The payload of a request, as a device writes it.
#[must_use]
pub fn write_request(request: &Request, kid: &Kid) -> Vec<u8> {
    let key = hex::encode(kid.key);
    let epoch = kid.epoch;
    let json = match request {
        Request::Claim { device_key } | Request::Rotate { device_key } => {
            let kind = if matches!(request, Request::Claim { .. }) {
                "claim"
            } else {
                "rotate"
            };
            serde_json::json!({"v": 1, "type": kind, "key": key, "epoch": epoch,
                "participant": 1, "device_key": hex::encode(device_key)})
        }
        Request::Cosign(cosign) => {
            let commitments: Vec<_> = cosign
                .signers
                .iter()
                .map(Signer::commitment)
                .map(|c| {
                    serde_json::json!({"participant": c.participant,
                    "hiding": hex::encode(&c.hiding), "binding": hex::encode(&c.binding)})
                })
                .collect();
            serde_json::json!({"v": 1, "type": "cosign", "key": key, "epoch": epoch,
                "purpose": if cosign.proof { "proof" } else { "sign" },
                "message": URL_SAFE_NO_PAD.encode(&cosign.message),
                "taproot_root": taproot_text(&cosign.taproot), "commitments": commitments})
        }
        Request::Prove {
            offer_id,
            signature,
        } => {
            serde_json::json!({"v": 1, "type": "prove", "key": key, "epoch": epoch,
                "offer_id": hex::encode(offer_id), "signature": hex::encode(signature)})
        }
        Request::Abandon { offer_id } => {
            serde_json::json!({"v": 1, "type": "abandon", "key": key, "epoch": epoch,
                "offer_id": hex::encode(offer_id)})
        }
        Request::Status => {
            serde_json::json!({"v": 1, "type": "status", "key": key, "epoch": epoch})
        }
    };
    json.to_string().into_bytes()
}
