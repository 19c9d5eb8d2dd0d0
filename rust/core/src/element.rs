//! Elements decoded once: what was sent is checked when it is read, and never decoded again.

use curve25519_dalek::{EdwardsPoint, RistrettoPoint};

use crate::error::{Error, Result};
use crate::sign::Commitment;
use crate::suite::{decode, with_suite, Suite, SuiteId};

/// An element of one of the curves, decoded.
#[derive(Debug, Clone, Copy)]
pub enum Point {
    /// ed25519's.
    Edwards(EdwardsPoint),
    /// ristretto255's.
    Ristretto(RistrettoPoint),
    /// secp256k1's, of both its suites.
    Secp256k1(k256::ProjectivePoint),
    /// P-256's.
    P256(p256::ProjectivePoint),
    /// ed448's.
    Ed448(frost_core::Element<frost_ed448::Ed448Shake256>),
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

/// A point of another curve than the suite's: a group and a request that do not belong together.
pub(crate) fn foreign_point(suite: SuiteId) -> Error {
    Error::malformed(format!("not an element of {}", suite.name()))
}
