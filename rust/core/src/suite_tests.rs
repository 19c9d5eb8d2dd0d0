//! What strict decoding refuses.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::EdwardsPoint;
use frost_ed25519::Ed25519Sha512 as Ed;
use rand_core::OsRng;

use super::*;

fn decodes(point: &EdwardsPoint) -> bool {
    decode::<Ed>(point.compress().as_bytes()).is_ok()
}

#[test]
fn an_ed25519_point_with_a_torsion_component_is_refused() {
    for _ in 0..4 {
        let point = Ed::base_mul(&random_scalar::<Ed, _>(&mut OsRng));
        for (index, torsion) in EIGHT_TORSION.iter().enumerate() {
            assert_eq!(
                decodes(&(point + torsion)),
                index == 0,
                "torsion point {index}"
            );
        }
    }
}

#[test]
fn an_ed25519_point_of_small_order_is_refused() {
    for torsion in &EIGHT_TORSION {
        assert!(!decodes(torsion));
    }
}

/// All y from p to 2^255 - 1, with either sign: the encodings that are not canonical.
#[test]
fn a_non_canonical_ed25519_encoding_is_refused() {
    for low in 0xed..=0xffu8 {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);

            assert!(decode::<Ed>(&bytes).is_err(), "{low:x} {high:x}");
        }
    }
}

#[test]
fn the_identity_with_the_wrong_sign_is_refused() {
    let mut bytes = [0; 32];
    (bytes[0], bytes[31]) = (1, 0x80);

    assert!(decode::<Ed>(&bytes).is_err());
}

#[test]
fn ed25519_decodes_exactly_what_frost_ed25519_does() {
    for _ in 0..200 {
        let mut bytes = [0; 32];
        rand_core::RngCore::fill_bytes(&mut OsRng, &mut bytes);
        let theirs = <<Ed as Ciphersuite>::Group as Group>::deserialize(&bytes).ok();

        assert_eq!(decode::<Ed>(&bytes).ok(), theirs);
    }
}

#[test]
fn every_suite_decodes_what_it_encodes_and_nothing_longer_or_shorter() {
    for suite in SuiteId::ALL {
        with_suite!(suite, C => {
            let point = C::base_mul(&random_scalar::<C, _>(&mut OsRng));
            let bytes = encode::<C>(&point).unwrap();

            assert!(decode::<C>(&bytes).unwrap() == point);
            assert!(C::element(&C::point(point)).unwrap() == point);
            assert!(decode::<C>(&bytes[1..]).is_err());
            assert!(decode::<C>(&[&bytes[..], &[0]].concat()).is_err());
        });
    }
}

#[test]
fn a_point_of_another_curve_is_refused() {
    let point = Ed::point(Ed::base_mul(&random_scalar::<Ed, _>(&mut OsRng)));

    assert!(frost_p256::P256Sha256::element(&point).is_err());
}
