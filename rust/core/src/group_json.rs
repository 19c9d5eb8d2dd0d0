//! The public facts of a key as JSON, written and read strictly.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::group::Group;
use crate::polynomial::check_verifying_shares;
use crate::suite::SuiteId;
use crate::wire::{unhex, unhex_any};

/// The JSON of FORMATS "Group", field for field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupJson {
    v: u64,
    vault: String,
    key: String,
    user: String,
    suite: String,
    generation: u64,
    threshold: u64,
    participants: Vec<String>,
    epoch: u64,
    public_key: String,
    commitments: Vec<String>,
}

impl Group {
    /// The fields of FORMATS "Group".
    pub(crate) fn to_wire(&self) -> Result<GroupJson> {
        Ok(GroupJson {
            v: 1,
            vault: hex::encode(self.vault),
            key: hex::encode(self.key),
            user: self.user.clone(),
            suite: self.suite.context_string().into(),
            generation: self.generation,
            threshold: self.threshold.into(),
            participants: self.participants.clone(),
            epoch: self.epoch,
            public_key: hex::encode(self.public_key()?),
            commitments: self.commitments.iter().map(hex::encode).collect(),
        })
    }

    /// Checks every field, every element, the key id and the public key.
    pub(crate) fn from_wire(json: &GroupJson) -> Result<Self> {
        let group = Self::from_parts(json).map_err(|error| match error {
            Error::Request(text) => Error::Malformed(text),
            other => other,
        })?;
        check_verifying_shares(&group)?;
        if hex::encode(group.key) != json.key {
            return Err(Error::malformed(
                "the key id is not that of vault, user, suite, generation",
            ));
        }
        if hex::encode(group.public_key()?) != json.public_key {
            return Err(Error::malformed(
                "the public key is not the first commitment",
            ));
        }
        Ok(group)
    }

    fn from_parts(json: &GroupJson) -> Result<Self> {
        if json.v != 1 {
            return Err(Error::malformed(format!(
                "version must be 1, not {}",
                json.v
            )));
        }
        let threshold = u16::try_from(json.threshold)
            .map_err(|_| Error::malformed("threshold is out of range"))?;
        let commitments = json
            .commitments
            .iter()
            .map(|c| unhex_any(c))
            .collect::<Result<_>>()?;
        Self::new(
            unhex(&json.vault)?,
            json.user.clone(),
            SuiteId::from_context_string(&json.suite)?,
            json.generation,
            threshold,
            json.participants.clone(),
            json.epoch,
            commitments,
        )
    }
}
