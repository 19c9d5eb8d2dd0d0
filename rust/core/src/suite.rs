//! The six ciphersuites behind one enum and one macro.
//!
//! Frost arithmetic is `frost-core`'s; what is added here is what it lacks: a fixed-base
//! multiplication, strict decoding with one error, and one meaning for BIP-340's even-Y rule.

use std::cell::Cell;

use frost_core::keys::PublicKeyPackage;
use frost_core::{Ciphersuite, Element, Field, Group, Identifier, Scalar};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::point::Point;

pub(crate) type Elem<C> = Element<C>;
pub(crate) type Scal<C> = Scalar<C>;

/// A Taproot tweak to sign under: nothing, the key-path tweak, or one with a Merkle root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Taproot {
    /// Sign with the key as it is.
    #[default]
    Untweaked,
    /// BIP-341 without a script tree.
    KeyPath,
    /// BIP-341 with this Merkle root.
    Root([u8; 32]),
}

impl Taproot {
    pub(crate) fn merkle_root(&self) -> Option<&[u8]> {
        match self {
            Self::Root(root) => Some(root),
            _ => None,
        }
    }
}

/// What icehouse needs of a ciphersuite beyond `frost-core`'s trait.
pub trait Suite: Ciphersuite {
    /// Which suite this is.
    const SUITE: SuiteId;

    /// `scalar · G`, with precomputed tables where the curve crate has them.
    fn base_mul(scalar: &Scal<Self>) -> Elem<Self>;

    /// The encodings of `scalar · G`, in order; refuses a scalar of zero.
    fn base_muls(scalars: &[Scal<Self>]) -> Result<Vec<Vec<u8>>> {
        scalars
            .iter()
            .map(|scalar| encode::<Self>(&Self::base_mul(scalar)))
            .collect()
    }

    /// The public key as a verifier wants it.
    fn public_key(element: &Elem<Self>) -> Result<Vec<u8>> {
        encode::<Self>(element)
    }

    /// The element as a value of the one type that holds those of all suites.
    fn point(element: Elem<Self>) -> Point;

    /// The element of such a value, if it is of this suite's curve.
    fn element(point: &Point) -> Result<Elem<Self>>;

    /// Strict decoding of bytes of the right length; `None` refuses them.
    fn element_from(bytes: &[u8]) -> Option<Elem<Self>> {
        let array = <Self::Group as Group>::Serialization::try_from(bytes).ok()?;
        <Self::Group as Group>::deserialize(&array).ok()
    }

    /// `Σ scalar · element` of *public* scalars and elements; the time it takes may tell them.
    fn public_sum(terms: &[(Scal<Self>, Elem<Self>)]) -> Elem<Self> {
        terms
            .iter()
            .fold(<Self::Group as Group>::identity(), |sum, (s, e)| {
                sum + *e * *s
            })
    }

    /// RFC 9591's challenge, from the encodings of the group commitment and the key.
    fn challenge_of(commitment: &[u8], key: &[u8], message: &[u8]) -> Scal<Self> {
        Self::H2(&[commitment, key, message].concat())
    }

    /// Whether the nonces must be negated for this group commitment (BIP-340 only).
    fn negates_nonces(_commitment: &Elem<Self>) -> bool {
        false
    }

    /// Share and encoded verifying key as the signature uses them.
    fn signing_form(
        share: Scal<Self>,
        key: &[u8],
        taproot: Taproot,
    ) -> Result<(Scal<Self>, Vec<u8>)> {
        refuse_taproot::<Self>(taproot)?;
        Ok((share, key.to_vec()))
    }

    /// The public key package as `aggregate` wants it, before its own even-Y step.
    fn public_form(
        package: PublicKeyPackage<Self>,
        taproot: Taproot,
    ) -> Result<PublicKeyPackage<Self>> {
        refuse_taproot::<Self>(taproot)?;
        Ok(package)
    }
}

fn refuse_taproot<C: Suite>(taproot: Taproot) -> Result<()> {
    if taproot == Taproot::Untweaked {
        return Ok(());
    }
    Err(Error::malformed(format!(
        "a Taproot tweak exists for secp256k1-tr only, not for {}",
        C::SUITE.name()
    )))
}

/// Which of the six ciphersuites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuiteId {
    /// FROST(Ed25519, SHA-512), the default.
    Ed25519,
    /// FROST(secp256k1, SHA-256) with BIP-340 signatures.
    Secp256k1Tr,
    /// FROST(secp256k1, SHA-256) of RFC 9591.
    Secp256k1,
    /// FROST(P-256, SHA-256).
    P256,
    /// FROST(ristretto255, SHA-512).
    Ristretto255,
    /// FROST(Ed448, SHAKE256).
    Ed448,
}

/// Runs `$body` with `$C` bound to the ciphersuite that `$id` names.
macro_rules! with_suite {
    ($id:expr, $C:ident => $body:expr) => {
        match $id {
            $crate::suite::SuiteId::Ed25519 => {
                type $C = frost_ed25519::Ed25519Sha512;
                $body
            }
            $crate::suite::SuiteId::Secp256k1Tr => {
                type $C = frost_secp256k1_tr::Secp256K1Sha256TR;
                $body
            }
            $crate::suite::SuiteId::Secp256k1 => {
                type $C = frost_secp256k1::Secp256K1Sha256;
                $body
            }
            $crate::suite::SuiteId::P256 => {
                type $C = frost_p256::P256Sha256;
                $body
            }
            $crate::suite::SuiteId::Ristretto255 => {
                type $C = frost_ristretto255::Ristretto255Sha512;
                $body
            }
            $crate::suite::SuiteId::Ed448 => {
                type $C = frost_ed448::Ed448Shake256;
                $body
            }
        }
    };
}
pub(crate) use with_suite;

impl SuiteId {
    /// All six, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Ed25519,
        Self::Secp256k1Tr,
        Self::Secp256k1,
        Self::P256,
        Self::Ristretto255,
        Self::Ed448,
    ];

    /// The short name used on the surface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Secp256k1Tr => "secp256k1-tr",
            Self::Secp256k1 => "secp256k1",
            Self::P256 => "p256",
            Self::Ristretto255 => "ristretto255",
            Self::Ed448 => "ed448",
        }
    }

    /// The context string that names the suite in every stored or sent byte.
    #[must_use]
    pub fn context_string(self) -> &'static str {
        with_suite!(self, C => C::ID)
    }

    /// The suite of a short name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name() == name)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|suite| suite.name()).collect();
                Error::request(format!(
                    "suite must be one of {}, not {name:?}",
                    known.join(", ")
                ))
            })
    }

    /// The suite of a context string.
    pub fn from_context_string(context: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.context_string() == context)
            .ok_or_else(|| Error::malformed(format!("unknown suite {context:?}")))
    }

    /// Bytes of a serialised scalar.
    #[must_use]
    pub fn scalar_len(self) -> usize {
        if self == Self::Ed448 {
            57
        } else {
            32
        }
    }

    /// Bytes of a serialised element.
    #[must_use]
    pub fn element_len(self) -> usize {
        match self {
            Self::Ed25519 | Self::Ristretto255 => 32,
            Self::Ed448 => 57,
            _ => 33,
        }
    }

    /// Bytes of a signature.
    #[must_use]
    pub fn signature_len(self) -> usize {
        if self == Self::Secp256k1Tr {
            64
        } else {
            self.element_len() + self.scalar_len()
        }
    }
}

/// An element in the suite's encoding; the identity has none.
pub(crate) fn encode<C: Suite>(element: &Elem<C>) -> Result<Vec<u8>> {
    <C::Group as Group>::serialize(element)
        .map(|bytes| bytes.as_ref().to_vec())
        .map_err(|_| identity())
}

pub(crate) fn identity() -> Error {
    Error::malformed("an element is the identity")
}

thread_local! {
    static DECODED: Cell<u64> = const { Cell::new(0) };
}

/// How many elements this thread has decoded so far: what a message costs, counted.
#[must_use]
pub fn elements_decoded() -> u64 {
    DECODED.get()
}

/// Strict: right length, canonical, in the prime-order group, not the identity.
pub(crate) fn decode<C: Suite>(bytes: &[u8]) -> Result<Elem<C>> {
    let refusal = || Error::malformed(format!("not an element of {}", C::SUITE.name()));
    if bytes.len() != C::SUITE.element_len() || !is_compressed(C::SUITE, bytes) {
        return Err(refusal());
    }
    DECODED.set(DECODED.get() + 1);
    C::element_from(bytes).ok_or_else(refusal)
}

/// SEC1 has a second encoding of 33 bytes, `05 ‖ x`, which the curve crates read and RFC 9591 lacks.
pub(crate) fn is_compressed(suite: SuiteId, element: &[u8]) -> bool {
    suite.element_len() != 33 || matches!(element.first(), Some(2 | 3))
}

/// A scalar in the suite's encoding, wiped when dropped.
pub(crate) fn encode_scalar<C: Suite>(scalar: &Scal<C>) -> Zeroizing<Vec<u8>> {
    let mut bytes = <<C::Group as Group>::Field as Field>::serialize(scalar);
    let own = Zeroizing::new(bytes.as_ref().to_vec());
    zeroize::Zeroize::zeroize(bytes.as_mut());
    own
}

/// Strict: right length and below the group order.
pub(crate) fn decode_scalar<C: Suite>(bytes: &[u8]) -> Result<Scal<C>> {
    let refusal = || Error::malformed(format!("not a scalar of {}", C::SUITE.name()));
    if bytes.len() != C::SUITE.scalar_len() {
        return Err(refusal());
    }
    let array = <<C::Group as Group>::Field as Field>::Serialization::try_from(bytes)
        .map_err(|_| refusal())?;
    <<C::Group as Group>::Field as Field>::deserialize(&array).map_err(|_| refusal())
}

pub(crate) fn zero<C: Suite>() -> Scal<C> {
    <<C::Group as Group>::Field as Field>::zero()
}

/// A uniform scalar other than zero.
pub(crate) fn random_scalar<C: Suite, R: CryptoRngCore>(rng: &mut R) -> Scal<C> {
    loop {
        let scalar = <<C::Group as Group>::Field as Field>::random(rng);
        if scalar != zero::<C>() {
            return scalar;
        }
    }
}

/// The FROST identifier of a participant: its number as a scalar.
pub(crate) fn identifier<C: Suite>(participant: u16) -> Result<Identifier<C>> {
    Identifier::try_from(participant).map_err(|_| Error::request("participant numbers start at 1"))
}

#[cfg(test)]
#[path = "suite_tests.rs"]
mod tests;
