//! Answers: what a cosigner says, written and read.

use serde::{Deserialize, Serialize};

use crate::commitment::Commitment;
use crate::error::{Error, Result};
use crate::kid::{fits, Kid};
use crate::message::Envelope;
use crate::secret::MacKey;
use crate::wire::{read_object, required, unhex, unhex_any};

/// An authenticated answer other than an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The cosigner's half of a signature.
    Cosigned {
        /// Its commitments.
        commitment: Commitment,
        /// Its signature share.
        share: Vec<u8>,
    },
    /// The offer is committed.
    Committed {
        /// Which offer.
        offer_id: [u8; 16],
    },
    /// The offer is gone for ever.
    Abandoned {
        /// Which offer.
        offer_id: [u8; 16],
    },
    /// What stands.
    State {
        /// The standing offer.
        offer_id: Option<[u8; 16]>,
        /// Whether a rotation is due.
        due: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum AnswerJson {
    Cosigned {
        v: u64,
        key: String,
        epoch: u64,
        participant: u64,
        hiding: String,
        binding: String,
        share: String,
    },
    Committed {
        v: u64,
        key: String,
        epoch: u64,
        offer_id: String,
    },
    Abandoned {
        v: u64,
        key: String,
        epoch: u64,
        offer_id: String,
    },
    State {
        v: u64,
        key: String,
        epoch: u64,
        #[serde(deserialize_with = "required")]
        offer_id: Option<String>,
        due: bool,
    },
    Refused {
        v: u64,
        key: String,
        epoch: u64,
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BareJson {
    v: u64,
    r#type: String,
    reason: String,
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers always serialise")
}

impl Answer {
    /// The payload of this answer for the `kid` of its message.
    #[must_use]
    pub fn write(&self, kid: &Kid) -> Vec<u8> {
        let (v, key, epoch) = (1, hex::encode(kid.key), kid.epoch);
        to_json(&match self {
            Self::Cosigned { commitment, share } => AnswerJson::Cosigned {
                v,
                key,
                epoch,
                participant: commitment.participant.into(),
                hiding: hex::encode(&commitment.hiding),
                binding: hex::encode(&commitment.binding),
                share: hex::encode(share),
            },
            Self::Committed { offer_id } => AnswerJson::Committed {
                v,
                key,
                epoch,
                offer_id: hex::encode(offer_id),
            },
            Self::Abandoned { offer_id } => AnswerJson::Abandoned {
                v,
                key,
                epoch,
                offer_id: hex::encode(offer_id),
            },
            Self::State { offer_id, due } => AnswerJson::State {
                v,
                key,
                epoch,
                offer_id: offer_id.map(hex::encode),
                due: *due,
            },
        })
    }

    /// Reads an authenticated payload; a refusal becomes `Error::Refused`.
    pub fn read(payload: &[u8], kid: &Kid) -> Result<Self> {
        let json: AnswerJson = read_object(payload)
            .map_err(|error| Error::protocol(format!("not the answer to this message: {error}")))?;
        let (v, key, epoch) = match &json {
            AnswerJson::Cosigned { v, key, epoch, .. }
            | AnswerJson::Committed { v, key, epoch, .. }
            | AnswerJson::Abandoned { v, key, epoch, .. }
            | AnswerJson::State { v, key, epoch, .. }
            | AnswerJson::Refused { v, key, epoch, .. } => (*v, key, *epoch),
        };
        fits(v, key, epoch, kid)?;
        Ok(match json {
            AnswerJson::Cosigned {
                participant,
                hiding,
                binding,
                share,
                ..
            } => {
                let participant = u16::try_from(participant)
                    .map_err(|_| Error::malformed("a participant's number is out of range"))?;
                let commitment = Commitment {
                    participant,
                    hiding: unhex_any(&hiding)?,
                    binding: unhex_any(&binding)?,
                };
                Self::Cosigned {
                    commitment,
                    share: unhex_any(&share)?,
                }
            }
            AnswerJson::Committed { offer_id, .. } => Self::Committed {
                offer_id: unhex(&offer_id)?,
            },
            AnswerJson::Abandoned { offer_id, .. } => Self::Abandoned {
                offer_id: unhex(&offer_id)?,
            },
            AnswerJson::State { offer_id, due, .. } => Self::State {
                offer_id: offer_id.as_deref().map(unhex).transpose()?,
                due,
            },
            AnswerJson::Refused { reason, .. } => {
                return Err(Error::Refused {
                    reason,
                    authenticated: true,
                })
            }
        })
    }
}

/// The payload of an authenticated refusal.
#[must_use]
pub fn refusal(kid: &Kid, reason: &str) -> Vec<u8> {
    to_json(&AnswerJson::Refused {
        v: 1,
        key: hex::encode(kid.key),
        epoch: kid.epoch,
        reason: reason.into(),
    })
}

/// A bare, unauthenticated refusal.
#[must_use]
pub fn bare_refusal(reason: &str) -> String {
    let bare = BareJson {
        v: 1,
        r#type: "refused".into(),
        reason: reason.into(),
    };
    String::from_utf8(to_json(&bare)).expect("JSON is UTF-8")
}

/// The payload of an answer, once its `kid` and MAC are those expected.
///
/// A bare refusal becomes `Error::Refused` that says it proves nothing.
pub fn authenticate(answer: &str, kid: &Kid, key: &MacKey) -> Result<Vec<u8>> {
    if answer.starts_with('{') {
        let bare: BareJson = read_object(answer.as_bytes())
            .map_err(|error| Error::protocol(format!("not an answer: {error}")))?;
        if bare.v != 1 || bare.r#type != "refused" {
            return Err(Error::protocol("not a refusal of version 1"));
        }
        return Err(Error::Refused {
            reason: bare.reason,
            authenticated: false,
        });
    }
    let envelope = Envelope::parse(answer)
        .map_err(|error| Error::protocol(format!("not an answer: {error}")))?;
    if envelope.kid != *kid {
        return Err(Error::protocol("the answer is for another key or epoch"));
    }
    envelope
        .payload(key)
        .map_err(|_| Error::protocol("the answer is not authenticated: someone else made it"))
}
