//! Nothing is read that would not be written: one encoding for every element and scalar.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;
use proptest::prelude::*;
use rand_core::OsRng;

use crate::group::Group;
use crate::polynomial::{verifying_share, Share};
use crate::sample::{Sample, MESSAGE};
use crate::sign::{verify, verify_public};
use crate::suite::{
    decode, encode, encode_scalar, random_scalar, with_suite, Suite, SuiteId, Taproot,
};

fn is_element(suite: SuiteId, bytes: &[u8]) -> bool {
    with_suite!(suite, C => decode::<C>(bytes).is_ok())
}

fn an_element(suite: SuiteId) -> Vec<u8> {
    with_suite!(suite, C => encode::<C>(&C::base_mul(&random_scalar::<C, _>(&mut OsRng))).unwrap())
}

/// The group order, as a scalar would be written.
fn order(suite: SuiteId) -> Vec<u8> {
    let minus_one = with_suite!(suite, C => {
        let one = crate::polynomial::number::<C>(1);
        encode_scalar::<C>(&(crate::suite::zero::<C>() - one)).to_vec()
    });
    let mut order = minus_one;
    let little = matches!(
        suite,
        SuiteId::Ed25519 | SuiteId::Ristretto255 | SuiteId::Ed448
    );
    let lowest = if little { 0 } else { order.len() - 1 };
    // No order of the six ends in 0x00, so that adding one never carries.
    order[lowest] += 1;
    order
}

#[test]
fn what_is_written_is_read_again() {
    for suite in SuiteId::ALL {
        let element = an_element(suite);

        let again = with_suite!(suite, C => encode::<C>(&decode::<C>(&element).unwrap()).unwrap());
        assert_eq!(again, element);
    }
}

#[test]
fn truncated_and_trailing_bytes_are_refused() {
    for suite in SuiteId::ALL {
        let element = an_element(suite);
        for len in 0..element.len() {
            assert!(!is_element(suite, &element[..len]));
        }
        assert!(!is_element(suite, &[&element[..], &[0]].concat()));

        let scalar = vec![0; suite.scalar_len()];
        Share::from_bytes(suite, &scalar[1..]).unwrap_err();
        Share::from_bytes(suite, &[&scalar[..], &[0]].concat()).unwrap_err();
        Share::from_bytes(suite, &[]).unwrap_err();
    }
}

#[test]
fn scalars_of_the_order_and_above_are_refused() {
    for suite in SuiteId::ALL {
        Share::from_bytes(suite, &order(suite)).unwrap_err();
        Share::from_bytes(suite, &vec![0xff; suite.scalar_len()]).unwrap_err();
    }
}

#[test]
fn the_identity_is_no_element() {
    for suite in SuiteId::ALL {
        let len = suite.element_len();
        let mut one = vec![0; len];
        one[0] = 1;

        assert!(!is_element(suite, &vec![0; len]), "{}", suite.name());
        assert!(!is_element(suite, &one), "{}", suite.name());
    }
}

#[test]
fn an_identity_is_never_written() {
    for suite in SuiteId::ALL {
        with_suite!(suite, C => {
            encode::<C>(&C::base_mul(&crate::suite::zero::<C>())).unwrap_err();
        });
    }
}

#[test]
fn many_elements_are_encoded_as_each_alone_is() {
    for suite in SuiteId::ALL {
        with_suite!(suite, C => {
            let mut scalars: Vec<_> = (0..5).map(|_| random_scalar::<C, _>(&mut OsRng)).collect();
            scalars.push(crate::suite::zero::<C>() - scalars[0]);
            let alone: Vec<_> = scalars.iter().map(|one| encode::<C>(&C::base_mul(one)).unwrap()).collect();
            assert_eq!(C::base_muls(&scalars).unwrap(), alone, "{}", suite.name());

            scalars.push(crate::suite::zero::<C>());
            C::base_muls(&scalars).unwrap_err();
        });
    }
}

#[test]
fn points_of_small_order_are_refused() {
    for point in EIGHT_TORSION {
        assert!(!is_element(SuiteId::Ed25519, point.compress().as_bytes()));
        assert!(!is_element(
            SuiteId::Ristretto255,
            point.compress().as_bytes()
        ));
    }
    // Ed448: y = -1 has order 2, y = 0 order 4.
    let p_minus_one = [
        vec![0xfe; 1],
        vec![0xff; 27],
        vec![0xfe; 1],
        vec![0xff; 27],
        vec![0],
    ]
    .concat();
    for sign in [0, 0x80] {
        let mut zero = vec![0; 57];
        zero[56] = sign;
        let mut minus = p_minus_one.clone();
        minus[56] = sign;

        assert!(!is_element(SuiteId::Ed448, &zero));
        assert!(!is_element(SuiteId::Ed448, &minus));
    }
}

#[test]
fn points_of_mixed_order_are_refused() {
    let point = CompressedEdwardsY::from_slice(&an_element(SuiteId::Ed25519)).unwrap();
    let point = point.decompress().unwrap();

    for torsion in &EIGHT_TORSION[1..] {
        let mixed = (point + torsion).compress();
        assert!(!is_element(SuiteId::Ed25519, mixed.as_bytes()));
    }
    // Ed448: the point of order 2 is (0, -1), and adding it negates both coordinates.
    let element = an_element(SuiteId::Ed448);
    assert!(!is_element(SuiteId::Ed448, &plus_order_two(&element)));
}

/// `(x, y) + (0, -1) = (-x, -y)` on Ed448, on encoded points.
fn plus_order_two(encoded: &[u8]) -> Vec<u8> {
    // p - y, byte by byte; x changes its sign, so its parity flips (p is odd).
    let p = [vec![0xffu8; 28], vec![0xfe; 1], vec![0xff; 27]].concat();
    let mut mixed = vec![0; 57];
    let mut borrow = 0i16;
    for i in 0..56 {
        let digit = i16::from(p[i]) - i16::from(encoded[i]) - borrow;
        borrow = i16::from(digit < 0);
        mixed[i] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    mixed[56] = encoded[56] ^ 0x80;
    mixed
}

#[test]
fn coordinates_of_the_field_s_size_and_above_are_refused() {
    // y = p, p + 1, …: Ed25519 has 19 such encodings, with either sign.
    for low in 0xed..=0xff_u8 {
        for sign in [0x7f, 0xff] {
            let mut encoded = [0xff; 32];
            (encoded[0], encoded[31]) = (low, sign);
            assert!(!is_element(SuiteId::Ed25519, &encoded));
            assert!(!is_element(SuiteId::Ristretto255, &encoded));
        }
    }
    for (suite, element) in [
        (SuiteId::Ed448, [vec![0xff; 56], vec![0]].concat()),
        (SuiteId::P256, [vec![2], vec![0xff; 32]].concat()),
        (SuiteId::Secp256k1, [vec![2], vec![0xff; 32]].concat()),
        (SuiteId::Secp256k1Tr, [vec![3], vec![0xff; 32]].concat()),
    ] {
        assert!(!is_element(suite, &element), "{}", suite.name());
    }
}

#[test]
fn the_sign_of_zero_is_plus() {
    // y = 1 with x = -0: the identity's second spelling.
    let mut ed25519 = [0; 32];
    (ed25519[0], ed25519[31]) = (1, 0x80);
    let mut ed448 = [0; 57];
    (ed448[0], ed448[56]) = (1, 0x80);

    assert!(!is_element(SuiteId::Ed25519, &ed25519));
    assert!(!is_element(SuiteId::Ed448, &ed448));
}

#[test]
fn a_negative_ristretto_encoding_is_refused() {
    let element = an_element(SuiteId::Ristretto255);
    let mut negated = element;
    // p - s is odd where s is even.
    let p = [vec![0xedu8], vec![0xff; 30], vec![0x7f]].concat();
    let mut borrow = 0i16;
    for (digit, of_p) in negated.iter_mut().zip(p) {
        let difference = i16::from(of_p) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).unwrap();
    }

    assert!(!is_element(SuiteId::Ristretto255, &negated));
}

#[test]
fn every_tag_of_sec1_but_the_compressed_ones_is_refused() {
    for suite in [SuiteId::P256, SuiteId::Secp256k1, SuiteId::Secp256k1Tr] {
        for _ in 0..16 {
            let element = an_element(suite);
            for tag in (0..=u8::MAX).filter(|tag| !matches!(tag, 2 | 3)) {
                let other = [&[tag], &element[1..]].concat();
                assert!(!is_element(suite, &other), "{} {tag:02x}", suite.name());
            }
        }
    }
}

#[test]
fn an_element_of_another_suite_rarely_fits_and_its_length_never_does() {
    for suite in SuiteId::ALL {
        for other in SuiteId::ALL {
            if suite.element_len() != other.element_len() {
                assert!(!is_element(suite, &an_element(other)));
            }
        }
    }
}

#[test]
fn suites_have_two_names_and_no_other() {
    for suite in SuiteId::ALL {
        assert_eq!(SuiteId::from_name(suite.name()), Ok(suite));
        assert_eq!(
            SuiteId::from_context_string(suite.context_string()),
            Ok(suite)
        );
        SuiteId::from_name(suite.context_string()).unwrap_err();
        SuiteId::from_context_string(suite.name()).unwrap_err();
    }
    SuiteId::from_name("ED25519").unwrap_err();
    SuiteId::from_context_string("FROST-ED25519-SHA512-v2").unwrap_err();
}

#[test]
fn signatures_of_another_length_are_refused() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 2, 2);
        let signature = sample.sign(&[1, 2], |_| ()).unwrap();
        for other in [&signature[1..], &[&signature[..], &[0]].concat(), &[]] {
            verify(&sample.group, MESSAGE, Taproot::Untweaked, other).unwrap_err();
        }
    }
}

#[test]
fn a_signature_s_scalar_plus_the_order_is_refused() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 2, 2);
        let mut signature = sample.sign(&[1, 2], |_| ()).unwrap();
        let at = signature.len() - suite.scalar_len();
        signature[at..].copy_from_slice(&order(suite));

        verify(&sample.group, MESSAGE, Taproot::Untweaked, &signature).unwrap_err();
    }
}

#[test]
fn a_signature_whose_r_is_of_mixed_order_is_refused() {
    // A cofactored verifier would take it; RFC 9591 wants R in the prime-order group.
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let signature = sample.sign(&[1, 2], |_| ()).unwrap();
    let r = CompressedEdwardsY::from_slice(&signature[..32]).unwrap();
    for torsion in &EIGHT_TORSION[1..] {
        let mut mixed = signature.clone();
        mixed[..32].copy_from_slice((r.decompress().unwrap() + torsion).compress().as_bytes());

        verify(&sample.group, MESSAGE, Taproot::Untweaked, &mixed).unwrap_err();
    }
}

#[test]
fn a_public_key_that_is_no_element_verifies_nothing() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 2, 2);
        let signature = sample.sign(&[1, 2], |_| ()).unwrap();
        let key = vec![0; sample.group.public_key().unwrap().len()];

        verify_public(suite, &key, MESSAGE, Taproot::Untweaked, &signature).unwrap_err();
        verify_public(suite, &[], MESSAGE, Taproot::Untweaked, &signature).unwrap_err();
    }
}

#[test]
fn a_group_whose_participant_would_have_no_share_is_refused() {
    // f(x) = a - a·x is zero at 1: participant 1 would hold nothing.
    let suite = SuiteId::Ed25519;
    let share = Share::from_bytes(suite, &[vec![5], vec![0; 31]].concat()).unwrap();
    with_suite!(suite, C => {
        let a = share.scalar::<C>().unwrap();
        let minus = crate::suite::zero::<C>() - a;
        let commitments = vec![encode::<C>(&C::base_mul(&a)).unwrap(), encode::<C>(&C::base_mul(&minus)).unwrap()];
        let names = vec!["a".into(), "server".into()];
        let group = Group::new([0; 16], "a".into(), suite, 0, 2, names, 1, commitments).unwrap();

        verifying_share(&group, 1).unwrap_err();
        verifying_share(&group, 2).unwrap();
        Group::from_wire(&group.to_wire().unwrap()).unwrap_err();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_read_is_what_would_be_written(
        suite in prop::sample::select(SuiteId::ALL.to_vec()),
        bytes in prop::collection::vec(any::<u8>(), 57),
        tag in prop::sample::select(vec![2u8, 3, 5]),
    ) {
        let mut bytes = bytes;
        bytes.truncate(suite.element_len());
        if suite.element_len() == 33 {
            bytes[0] = tag;
        }
        with_suite!(suite, C => {
            if let Ok(element) = decode::<C>(&bytes) {
                prop_assert_eq!(encode::<C>(&element).unwrap(), bytes.clone());
            }
        });
        bytes.resize(suite.scalar_len(), 0);
        if let Ok(share) = Share::from_bytes(suite, &bytes) {
            with_suite!(suite, C => {
                prop_assert_eq!(encode_scalar::<C>(&share.scalar::<C>().unwrap()).to_vec(), bytes.clone());
            });
        }
    }
}
