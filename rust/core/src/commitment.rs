//! Nonce commitments, as they are sent and decoded: what was checked when it was read is never decoded again.

use crate::error::Result;
use crate::point::Point;
use crate::suite::{decode, with_suite, Suite, SuiteId};

/// A participant's public nonce commitments for one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// The signer's number.
    pub participant: u16,
    /// `D = d · G`.
    pub hiding: Vec<u8>,
    /// `E = e · G`.
    pub binding: Vec<u8>,
}

/// A signer's nonce commitments: the bytes that are hashed, and the elements they stand for.
#[derive(Debug, Clone)]
pub struct Signer {
    commitment: Commitment,
    hiding: Point,
    binding: Point,
}

impl Signer {
    /// Decodes both elements strictly; the only way in for what someone else sent.
    pub fn read(suite: SuiteId, commitment: Commitment) -> Result<Self> {
        with_suite!(suite, C => {
            let hiding = C::point(decode::<C>(&commitment.hiding)?);
            let binding = C::point(decode::<C>(&commitment.binding)?);
            Ok(Self { commitment, hiding, binding })
        })
    }

    /// What this process made itself needs no decoding.
    pub(crate) fn made(commitment: Commitment, hiding: Point, binding: Point) -> Self {
        Self {
            commitment,
            hiding,
            binding,
        }
    }

    /// The commitments as they are sent.
    #[must_use]
    pub fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    pub(crate) fn hiding(&self) -> &Point {
        &self.hiding
    }

    pub(crate) fn binding(&self) -> &Point {
        &self.binding
    }
}
