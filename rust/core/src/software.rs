//! A token in software, for development and tests: it behaves like hardware and protects like a file.
//!
//! Keys are used through the token and never leave it; its only exit is a file encrypted under a PIN
//! (age v1, scrypt). There is no getter for key material.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use age::secrecy::SecretString;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use hmac::{Hmac, Mac};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::Sha512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secret::{DataKey, Node, Passphrase};

/// The first byte of everything a token wraps.
pub const WRAP_VERSION: u8 = 1;
/// Version, nonce, AES-256 key, tag.
pub const WRAPPED_LEN: usize = 1 + NONCE_LEN + 32 + 16;
const NONCE_LEN: usize = 12;
const FILE_VERSION: u32 = 1;
// age's own bound is measured on the spot; a fixed one opens the same file on every machine.
const MAX_WORK_FACTOR: u8 = 22;

/// A result of a token.
pub type Result<T> = std::result::Result<T, Error>;

/// What a token answers instead of a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No key has this label.
    #[error("the token has no key labelled '{0}'")]
    NoSuchKey(String),
    /// A key has this label already.
    #[error("the token already has a key labelled '{0}'")]
    KeyExists(String),
    /// The key is of another kind than the operation needs.
    #[error("the key '{label}' is of kind {is}; this operation needs kind {needed}")]
    WrongKind {
        /// The key.
        label: String,
        /// The kind that it is.
        is: Kind,
        /// The kind that the operation needs.
        needed: Kind,
    },
    /// The file does not open under this PIN.
    #[error("wrong PIN")]
    WrongPin,
    /// The bytes are not a token file of a version known here.
    #[error("not a token file: {0}")]
    Malformed(String),
    /// The wrapped bytes do not open under this key in this context.
    #[error("the wrapped key does not open under '{0}' in this context")]
    Seal(String),
}

/// What a key can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// AES-256: wraps and unwraps.
    Aes,
    /// HMAC-SHA512 with a key of 64 bytes.
    Hmac,
    /// ECDSA on P-256.
    Ecdsa,
}

impl Kind {
    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Aes, Self::Hmac, Self::Ecdsa]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// The name, as in `KeyKind`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes => "aes",
            Self::Hmac => "hmac",
            Self::Ecdsa => "ecdsa",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key of the token; it can be used, and not looked at.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key {
    #[zeroize(skip)]
    label: String,
    #[zeroize(skip)]
    kind: Kind,
    secret: Vec<u8>,
}

impl Key {
    fn generate(label: &str, kind: Kind) -> Self {
        let secret = match kind {
            Kind::Aes => random(32),
            Kind::Hmac => random(64),
            Kind::Ecdsa => SigningKey::random(&mut OsRng).to_bytes().to_vec(),
        };
        Self {
            label: label.to_owned(),
            kind,
            secret,
        }
    }

    fn needs(&self, needed: Kind) -> Result<&[u8]> {
        if self.kind == needed {
            Ok(&self.secret)
        } else {
            Err(Error::WrongKind {
                label: self.label.clone(),
                is: self.kind,
                needed,
            })
        }
    }

    fn cipher(&self) -> Result<Aes256Gcm> {
        Aes256Gcm::new_from_slice(self.needs(Kind::Aes)?).map_err(|_| bad_length(&self.label))
    }

    fn signer(&self) -> Result<SigningKey> {
        SigningKey::from_slice(self.needs(Kind::Ecdsa)?).map_err(|_| bad_length(&self.label))
    }

    /// Wraps a data key: version ‖ nonce ‖ ciphertext ‖ tag, with the context authenticated.
    pub fn wrap(&self, secret: &DataKey, context: &[u8]) -> Result<Vec<u8>> {
        let cipher = self.cipher()?;
        let nonce = random(NONCE_LEN);
        let payload = Payload {
            msg: secret.expose(),
            aad: context,
        };
        let sealed = cipher
            .encrypt(Nonce::from_slice(&nonce), payload)
            .map_err(|_| Error::Seal(self.label.clone()))?;
        Ok([&[WRAP_VERSION][..], &nonce, &sealed].concat())
    }

    /// Unwraps what `wrap` made under this key with this context.
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey> {
        let cipher = self.cipher()?;
        let closed = || Error::Seal(self.label.clone());
        if wrapped.len() != WRAPPED_LEN || wrapped[0] != WRAP_VERSION {
            return Err(closed());
        }
        let (nonce, sealed) = wrapped[1..].split_at(NONCE_LEN);
        let opened = cipher
            .decrypt(
                Nonce::from_slice(nonce),
                Payload {
                    msg: sealed,
                    aad: context,
                },
            )
            .map_err(|_| closed())?;
        DataKey::from_slice(&Zeroizing::new(opened)).map_err(|_| closed())
    }

    /// HMAC-SHA512 of the message.
    pub fn mac(&self, message: &[u8]) -> Result<Node> {
        let mut mac = <Hmac<Sha512> as Mac>::new_from_slice(self.needs(Kind::Hmac)?)
            .map_err(|_| bad_length(&self.label))?;
        mac.update(message);
        let tag = Zeroizing::new(<[u8; 64]>::from(mac.finalize().into_bytes()));
        Node::from_slice(tag.as_ref()).map_err(|_| bad_length(&self.label))
    }

    /// An ECDSA signature, r ‖ s, on a digest of 32 bytes.
    pub fn sign(&self, digest: &[u8; 32]) -> Result<[u8; 64]> {
        let signature: Signature = self
            .signer()?
            .sign_prehash(digest)
            .map_err(|_| bad_length(&self.label))?;
        Ok(signature.to_bytes().into())
    }

    /// The public key, as an uncompressed SEC1 point.
    pub fn public_key(&self) -> Result<Vec<u8>> {
        Ok(self
            .signer()?
            .verifying_key()
            .to_encoded_point(false)
            .as_bytes()
            .to_vec())
    }
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; len];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

fn bad_length(label: &str) -> Error {
    Error::Malformed(format!("the key '{label}' is not a key of its kind"))
}

/// Keys by label. A clone is cheap: it shares the keys.
#[derive(Clone, Default)]
pub struct SoftwareToken {
    keys: BTreeMap<String, Arc<Key>>,
}

impl SoftwareToken {
    /// An empty token.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a key under a new label.
    pub fn create(&mut self, label: &str, kind: Kind) -> Result<()> {
        if self.keys.contains_key(label) {
            return Err(Error::KeyExists(label.to_owned()));
        }
        self.keys
            .insert(label.to_owned(), Arc::new(Key::generate(label, kind)));
        Ok(())
    }

    /// Destroys a key of this kind, at once.
    pub fn destroy(&mut self, label: &str, kind: Kind) -> Result<()> {
        self.key(label)?.needs(kind)?;
        self.keys.remove(label);
        Ok(())
    }

    /// The labels that start with `prefix`, in order, and the kinds of their keys.
    #[must_use]
    pub fn labels(&self, prefix: &str) -> Vec<(String, Kind)> {
        self.keys
            .range(prefix.to_owned()..)
            .take_while(|(label, _)| label.starts_with(prefix))
            .map(|(label, key)| (label.clone(), key.kind))
            .collect()
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key with this label, to be used.
    pub fn key(&self, label: &str) -> Result<Arc<Key>> {
        self.keys
            .get(label)
            .cloned()
            .ok_or_else(|| Error::NoSuchKey(label.to_owned()))
    }

    /// The token as a file: an age v1 passphrase file with JSON inside.
    pub fn to_file(&self, pin: &Passphrase, work_factor: u8) -> Result<Vec<u8>> {
        let rows = self.keys.values().map(|key| StoredKey {
            label: key.label.clone(),
            kind: key.kind,
            secret: Zeroizing::new(BASE64.encode(&key.secret)),
        });
        let stored = StoredToken {
            version: FILE_VERSION,
            keys: rows.collect(),
        };
        // Written into one buffer of ample size: a growing one would leave copies of the keys behind.
        let mut json = Zeroizing::new(Vec::with_capacity(64 + 256 * self.keys.len()));
        serde_json::to_writer(&mut *json, &stored).map_err(malformed)?;
        let mut recipient = age::scrypt::Recipient::new(passphrase(pin));
        recipient.set_work_factor(work_factor);
        let encryptor =
            age::Encryptor::with_recipients(std::iter::once(&recipient as _)).map_err(malformed)?;
        let mut file = Vec::new();
        let mut writer = encryptor.wrap_output(&mut file).map_err(malformed)?;
        writer.write_all(&json).map_err(malformed)?;
        writer.finish().map_err(malformed)?;
        Ok(file)
    }

    /// Opens what `to_file` made under the same PIN.
    pub fn from_file(file: &[u8], pin: &Passphrase) -> Result<Self> {
        let decryptor = age::Decryptor::new_buffered(file).map_err(malformed)?;
        let mut identity = age::scrypt::Identity::new(passphrase(pin));
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        let mut reader =
            decryptor
                .decrypt(std::iter::once(&identity as _))
                .map_err(|why| match why {
                    age::DecryptError::DecryptionFailed
                    | age::DecryptError::KeyDecryptionFailed
                    | age::DecryptError::NoMatchingKeys => Error::WrongPin,
                    other => malformed(other),
                })?;
        // The plaintext is shorter than the file, so this buffer never grows.
        let mut json = Zeroizing::new(Vec::with_capacity(file.len() + 32));
        reader.read_to_end(&mut json).map_err(malformed)?;
        // serde's own message can quote what it read, which here is key material.
        let stored: StoredToken = serde_json::from_slice(&json).map_err(|why| {
            Error::Malformed(format!(
                "line {}, column {} of its JSON",
                why.line(),
                why.column()
            ))
        })?;
        stored.try_into()
    }
}

impl fmt::Debug for SoftwareToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareToken({} keys, <redacted>)", self.keys.len())
    }
}

fn passphrase(pin: &Passphrase) -> SecretString {
    SecretString::from(pin.expose().to_owned())
}

fn malformed(why: impl fmt::Display) -> Error {
    Error::Malformed(why.to_string())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredToken {
    version: u32,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    label: String,
    kind: Kind,
    #[serde(serialize_with = "write_secret", deserialize_with = "read_secret")]
    secret: Zeroizing<String>,
}

fn write_secret<S: serde::Serializer>(
    secret: &Zeroizing<String>,
    to: S,
) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(secret)
}

fn read_secret<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

impl TryFrom<StoredToken> for SoftwareToken {
    type Error = Error;

    fn try_from(stored: StoredToken) -> Result<Self> {
        if stored.version != FILE_VERSION {
            return Err(Error::Malformed(format!(
                "version must be {FILE_VERSION}, not {}",
                stored.version
            )));
        }
        let mut keys = BTreeMap::new();
        for StoredKey {
            label,
            kind,
            secret,
        } in stored.keys
        {
            let secret = BASE64
                .decode(secret.as_bytes())
                .map_err(|_| bad_length(&label))?;
            let expected = if kind == Kind::Hmac { 64 } else { 32 };
            if secret.len() != expected {
                return Err(bad_length(&label));
            }
            let key = Key {
                label: label.clone(),
                kind,
                secret,
            };
            if kind == Kind::Ecdsa {
                key.signer()?;
            }
            if keys.insert(label.clone(), Arc::new(key)).is_some() {
                return Err(Error::Malformed(format!("two keys are labelled '{label}'")));
            }
        }
        Ok(Self { keys })
    }
}

#[cfg(test)]
#[path = "software_tests.rs"]
mod tests;
