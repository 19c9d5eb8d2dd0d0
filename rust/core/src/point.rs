//! An element of any of the suites' curves, in one type.

use curve25519_dalek::{EdwardsPoint, RistrettoPoint};

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
