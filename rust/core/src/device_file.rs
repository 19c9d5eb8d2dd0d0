//! The device file: an age v1 file around one strict JSON object.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use crate::device::{Device, Held, Pending, Token};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::group_json::GroupJson;
use crate::passphrase;
use crate::polynomial::Share;
use crate::secret::{DeviceSecret, MacKey, Passphrase};
use crate::wire::{object, place, read_object, required, required_object, unhex, unhex_any};

/// Room for the largest device: the buffer must not grow and leave copies behind.
const ROOM: usize = 64 << 10;

/// Bytes that pass through JSON as hex and are wiped on both sides.
struct SecretHex(Zeroizing<Vec<u8>>);

impl Serialize for SecretHex {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(hex::encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for SecretHex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut text = String::deserialize(deserializer)?;
        let bytes = unhex_any(&text).map_err(serde::de::Error::custom);
        text.zeroize();
        Ok(Self(Zeroizing::new(bytes?)))
    }
}

fn secret(bytes: &[u8]) -> SecretHex {
    SecretHex(Zeroizing::new(bytes.to_vec()))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceJson {
    v: u64,
    user: String,
    #[serde(deserialize_with = "required_object")]
    token: Option<TokenJson>,
    #[serde(deserialize_with = "required")]
    request: Option<SecretHex>,
    #[serde(deserialize_with = "required_object")]
    current: Option<HeldJson>,
    #[serde(deserialize_with = "required_object")]
    pending: Option<PendingJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenJson {
    key: String,
    code: SecretHex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldJson {
    #[serde(deserialize_with = "object")]
    group: GroupJson,
    share: SecretHex,
    channel_key: SecretHex,
    offer_id: String,
    escrow: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PendingJson {
    #[serde(deserialize_with = "object")]
    epoch: HeldJson,
    device_key: SecretHex,
    #[serde(deserialize_with = "required")]
    proof: Option<String>,
}

impl Held {
    fn to_json(&self) -> Result<HeldJson> {
        Ok(HeldJson {
            group: self.group.to_wire()?,
            share: secret(self.share.expose()),
            channel_key: secret(self.channel.expose()),
            offer_id: hex::encode(self.offer_id),
            escrow: hex::encode(&self.escrow),
        })
    }

    fn from_json(json: &HeldJson, user: &str) -> Result<Self> {
        let group = Group::from_wire(&json.group)?;
        let share = Share::from_bytes(group.suite(), &json.share.0)?;
        share.check(&group, group.number_of(user)?)?;
        Ok(Self {
            group,
            share,
            channel: MacKey::from_slice(&json.channel_key.0)?,
            offer_id: unhex(&json.offer_id)?,
            escrow: unhex_any(&json.escrow)?,
        })
    }
}

impl Pending {
    fn from_json(json: &PendingJson, user: &str) -> Result<Self> {
        Ok(Self {
            held: Held::from_json(&json.epoch, user)?,
            secret: DeviceSecret::from_slice(&json.device_key.0)?,
            proof: json.proof.as_deref().map(unhex_any).transpose()?,
        })
    }
}

impl Device {
    /// Encrypts everything the device holds.
    pub fn to_file(&self, passphrase: &Passphrase, work_factor: u8) -> Result<Vec<u8>> {
        let json = DeviceJson {
            v: 1,
            user: self.user.clone(),
            token: self.token.as_ref().map(|token| TokenJson {
                key: hex::encode(token.key),
                code: secret(token.code.expose()),
            }),
            request: self.request.as_ref().map(|key| secret(key.expose())),
            current: self.current.as_ref().map(Held::to_json).transpose()?,
            pending: match &self.pending {
                None => None,
                Some(pending) => Some(PendingJson {
                    epoch: pending.held.to_json()?,
                    device_key: secret(pending.secret.expose()),
                    proof: pending.proof.as_ref().map(hex::encode),
                }),
            },
        };
        let mut plain = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *plain, &json)
            .map_err(|error| Error::request(format!("the device cannot be written: {error}")))?;
        passphrase::encrypt(&plain, passphrase, work_factor)
    }

    /// Decrypts and checks a device: every share fits its commitments, every field is known.
    pub fn from_file(file: &[u8], passphrase: &Passphrase) -> Result<Self> {
        let plain = passphrase::decrypt(file, passphrase)?;
        let damaged = |error: &dyn std::fmt::Display| {
            Error::seal(format!("the file holds no icehouse device: {error}"))
        };
        let json: DeviceJson = read_object(&plain).map_err(|error| damaged(&place(&error)))?;
        if json.v != 1 {
            return Err(damaged(&format!("version must be 1, not {}", json.v)));
        }
        Self::from_json(&json).map_err(|error| damaged(&error))
    }

    fn from_json(json: &DeviceJson) -> Result<Self> {
        let mut device = Self::new(&json.user)?;
        if let Some(token) = &json.token {
            let code = MacKey::from_slice(&token.code.0)?;
            device.token = Some(Token {
                key: unhex(&token.key)?,
                code,
            });
        }
        if let Some(key) = &json.request {
            device.request = Some(DeviceSecret::from_slice(&key.0)?);
        }
        device.current = json
            .current
            .as_ref()
            .map(|held| Held::from_json(held, &json.user))
            .transpose()?;
        device.pending = json
            .pending
            .as_ref()
            .map(|pending| Pending::from_json(pending, &json.user))
            .transpose()?;
        Ok(device)
    }
}
