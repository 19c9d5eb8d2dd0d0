//! The envelope of messages and answers: JWS in compact form, parsed strictly, authenticated before it is read.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::{Error, Result};
use crate::kid::Kid;
use crate::secret::MacKey;

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
pub(crate) fn from_base64(text: &str, most: usize) -> Result<Vec<u8>> {
    if text.len() > (most * 4).div_ceil(3) {
        return Err(Error::malformed(format!("longer than {most} bytes")));
    }
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Error::malformed("not base64url without padding"))
}
