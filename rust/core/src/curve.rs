//! What each of the six suites does in its own way.

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use curve25519_dalek::{EdwardsPoint, RistrettoPoint};
use frost_core::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use frost_core::{Ciphersuite, Group, VerifyingKey};
use frost_secp256k1_tr::keys::{EvenY, Tweak};
use frost_secp256k1_tr::Secp256K1Sha256TR;
use k256::elliptic_curve::point::AffineCoordinates;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::point::Point;
use crate::suite::{decode, encode, identifier, identity, Elem, Scal, Suite, SuiteId, Taproot};

/// A point of another curve than the suite's: a group and a request that do not belong together.
fn foreign_point(suite: SuiteId) -> Error {
    Error::malformed(format!("not an element of {}", suite.name()))
}

/// The methods every suite has: its number, its curve, and how it multiplies the generator.
macro_rules! own_curve {
    ($id:ident, $curve:ident, $scalar:ident => $mul:expr) => {
        const SUITE: SuiteId = SuiteId::$id;

        fn point(element: Elem<Self>) -> Point {
            Point::$curve(element)
        }

        fn element(point: &Point) -> Result<Elem<Self>> {
            match point {
                Point::$curve(element) => Ok(*element),
                _ => Err(foreign_point(Self::SUITE)),
            }
        }

        fn base_mul($scalar: &Scal<Self>) -> Elem<Self> {
            $mul
        }
    };
}

impl Suite for frost_ed25519::Ed25519Sha512 {
    own_curve!(Ed25519, Edwards, s => EdwardsPoint::mul_base(s));

    /// One inversion for all of them. That is in the curve crate's next version, which `frost-ed25519` is not built on.
    fn base_muls(scalars: &[Scal<Self>]) -> Result<Vec<Vec<u8>>> {
        let mut points = Vec::with_capacity(scalars.len());
        for scalar in scalars {
            if *scalar == curve25519_dalek::Scalar::ZERO {
                return Err(identity());
            }
            let bytes = Zeroizing::new(scalar.to_bytes());
            // Canonical bytes are below the order: nothing is reduced.
            let same = Zeroizing::new(next_dalek::Scalar::from_bytes_mod_order(*bytes));
            points.push(next_dalek::EdwardsPoint::mul_base(&same));
        }
        let encoded = next_dalek::EdwardsPoint::compress_batch_alloc(&points);
        Ok(encoded.iter().map(|one| one.to_bytes().to_vec()).collect())
    }

    /// As `frost-ed25519` decodes, but the subgroup check takes variable time: elements are public.
    fn element_from(bytes: &[u8]) -> Option<Elem<Self>> {
        let element = CompressedEdwardsY::from_slice(bytes).ok()?.decompress()?;
        (!element.is_identity() && in_prime_order_group(&element)).then_some(element)
    }

    fn public_sum(terms: &[(Scal<Self>, Elem<Self>)]) -> Elem<Self> {
        EdwardsPoint::vartime_multiscalar_mul(terms.iter().map(|t| t.0), terms.iter().map(|t| t.1))
    }
}

/// `(ℓ − 1)·P = −P`: true for the points whose order divides ℓ, and for no point of another order.
///
/// No non-canonical encoding decodes to such a point (<https://eprint.iacr.org/2020/1244>, section 2).
fn in_prime_order_group(element: &EdwardsPoint) -> bool {
    let minus_one = -curve25519_dalek::Scalar::ONE;
    let none = curve25519_dalek::Scalar::ZERO;
    EdwardsPoint::vartime_double_scalar_mul_basepoint(&minus_one, element, &none) == -element
}

impl Suite for frost_ristretto255::Ristretto255Sha512 {
    own_curve!(Ristretto255, Ristretto, s => RistrettoPoint::mul_base(s));

    fn public_sum(terms: &[(Scal<Self>, Elem<Self>)]) -> Elem<Self> {
        RistrettoPoint::vartime_multiscalar_mul(
            terms.iter().map(|t| t.0),
            terms.iter().map(|t| t.1),
        )
    }
}

impl Suite for frost_secp256k1::Secp256K1Sha256 {
    own_curve!(Secp256k1, Secp256k1, s => k256_base_mul(s));
}

impl Suite for frost_p256::P256Sha256 {
    own_curve!(P256, P256, s => p256::ProjectivePoint::GENERATOR * s);
}

impl Suite for frost_ed448::Ed448Shake256 {
    own_curve!(Ed448, Ed448, s => <<Self as Ciphersuite>::Group as Group>::generator() * *s);
}

fn k256_base_mul(scalar: &k256::Scalar) -> k256::ProjectivePoint {
    use k256::elliptic_curve::ops::MulByGenerator;
    k256::ProjectivePoint::mul_by_generator(scalar)
}

impl Suite for Secp256K1Sha256TR {
    own_curve!(Secp256k1Tr, Secp256k1, s => k256_base_mul(s));

    fn challenge_of(commitment: &[u8], key: &[u8], message: &[u8]) -> Scal<Self> {
        // BIP-340 hashes the x coordinates; its tag is part of H2.
        Self::H2(&[&commitment[1..], &key[1..], message].concat())
    }

    fn public_key(element: &Elem<Self>) -> Result<Vec<u8>> {
        encode::<Self>(element).map(|bytes| bytes[1..].to_vec())
    }

    fn negates_nonces(commitment: &Elem<Self>) -> bool {
        commitment.to_affine().y_is_odd().into()
    }

    fn signing_form(
        share: Scal<Self>,
        key: &[u8],
        taproot: Taproot,
    ) -> Result<(Scal<Self>, Vec<u8>)> {
        let key = decode::<Self>(key)?;
        // The identifier and the verifying share take no part in the tweak of a share.
        let package = KeyPackage::<Self>::new(
            identifier::<Self>(1)?,
            SigningShare::new(share),
            VerifyingShare::new(key),
            VerifyingKey::new(key),
            2,
        );
        let package = match taproot {
            Taproot::Untweaked => package,
            tweaked => package.tweak(tweaked.merkle_root()),
        };
        let package = package.into_even_y(None);
        Ok((
            package.signing_share().to_scalar(),
            encode::<Self>(&package.verifying_key().to_element())?,
        ))
    }

    fn public_form(
        package: PublicKeyPackage<Self>,
        taproot: Taproot,
    ) -> Result<PublicKeyPackage<Self>> {
        Ok(match taproot {
            Taproot::Untweaked => package,
            tweaked => package.tweak(tweaked.merkle_root()),
        })
    }
}
