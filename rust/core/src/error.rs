//! What can go wrong in the core: one variant per decision a caller can take.

/// A result of the core.
pub type Result<T> = std::result::Result<T, Error>;

/// Every error of the core. No variant ever carries a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller asked for something that cannot be; the text states the rule and the value.
    #[error("{0}")]
    Request(String),
    /// Bytes from outside do not have the form that `FORMATS` fixes.
    #[error("malformed: {0}")]
    Malformed(String),
    /// A message authentication code does not fit its key.
    #[error("the message is not authenticated by this key")]
    BadMac,
    /// Sealed bytes do not open in this context: changed, moved or foreign.
    #[error("{0}")]
    Seal(String),
    /// A participant's message does not fit; `culprits` are the participants to blame.
    #[error("{what}")]
    Protocol {
        /// What does not fit.
        what: String,
        /// The numbers of the participants to blame, if they are known.
        culprits: Vec<u16>,
    },
    /// The cosigner said no.
    #[error("the cosigner refused: {reason}")]
    Refused {
        /// One of the reasons of FORMATS "Messages".
        reason: String,
        /// Whether the refusal proves that the cosigner made it.
        authenticated: bool,
    },
}

impl Error {
    pub(crate) fn request(text: impl Into<String>) -> Self {
        Self::Request(text.into())
    }

    pub(crate) fn malformed(text: impl Into<String>) -> Self {
        Self::Malformed(text.into())
    }

    pub(crate) fn seal(text: impl Into<String>) -> Self {
        Self::Seal(text.into())
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol {
            what: what.into(),
            culprits: Vec::new(),
        }
    }
}
