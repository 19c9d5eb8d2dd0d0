//! Whom a message speaks for: the header of its JWS, and the same facts in its payload.

use crate::error::{Error, Result};
use crate::wire::{unhex, MAX_INTEGER};

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

    pub(crate) fn header(&self) -> String {
        format!(
            r#"{{"alg":"HS256","kid":"{}","typ":"icehouse"}}"#,
            self.text()
        )
    }

    pub(crate) fn from_header(header: &[u8]) -> Result<Self> {
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

/// Refuses a payload whose facts are not those of its header.
pub(crate) fn fits(v: u64, key: &str, epoch: u64, kid: &Kid) -> Result<()> {
    if v == 1 && epoch == kid.epoch && unhex::<16>(key)? == kid.key {
        return Ok(());
    }
    Err(Error::malformed(
        "version, key or epoch are not those of the header",
    ))
}
