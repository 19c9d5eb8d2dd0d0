//! Requests: what a device asks of its cosigner, written and read.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use serde::de::IgnoredAny;
use serde::Deserialize;

use crate::commitment::{Commitment, Signer};
use crate::device_key::check_device_key;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::kid::{fits, Kid};
use crate::message::{from_base64, MAX_MESSAGE};
use crate::suite::{SuiteId, Taproot};
use crate::wire::{few, read_object, required, unhex, unhex_of};

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

fn device_key_of(participant: u64, device_key: &str) -> Result<[u8; 32]> {
    if participant != 1 {
        return Err(Error::malformed("the device is participant 1"));
    }
    let bytes = unhex(device_key)?;
    check_device_key(&bytes)?;
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
