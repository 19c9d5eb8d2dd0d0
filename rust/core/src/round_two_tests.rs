//! A signer's own half, held against `frost-core`'s for every suite.

use frost_core::keys::{KeyPackage, VerifyingShare};
use frost_core::round1::SigningNonces;
use frost_core::{round2, VerifyingKey};
use frost_secp256k1_tr::keys::Tweak;

use super::*;
use crate::polynomial::deal;
use crate::sign::{aggregate, package, verify};
use crate::suite::{decode, identifier, SuiteId};

const ROUNDS: usize = 8;

fn dealt(suite: SuiteId, threshold: u16, n: u16) -> (Group, Vec<Share>) {
    let deal = deal(suite, threshold, n, &mut OsRng).unwrap();
    let names: Vec<String> = (1..=n).map(|i| format!("participant {i}")).collect();
    let user = names[0].clone();
    let group = Group::new(
        [9; 16],
        user,
        suite,
        0,
        threshold,
        names,
        1,
        deal.commitments,
    )
    .unwrap();
    (group, deal.shares)
}

fn random_message() -> Vec<u8> {
    let mut message = vec![0; (OsRng.next_u32() % 300) as usize];
    OsRng.fill_bytes(&mut message);
    message
}

/// Signs as participant `own` among `numbers`, with our code and with `frost-core`'s.
fn both_halves<C: Suite>(
    threshold: u16,
    numbers: &[u16],
    own: u16,
    taproot: Taproot,
    tweak: impl Fn(KeyPackage<C>) -> KeyPackage<C>,
) -> (Vec<u8>, Vec<u8>) {
    let (group, shares) = dealt(C::SUITE, threshold, 5);
    let message = random_message();
    let share = |number: u16| &shares[usize::from(number) - 1];
    let mut nonces: Vec<Nonces> = numbers
        .iter()
        .map(|number| commit(share(*number), *number, &mut OsRng).unwrap())
        .collect();
    let commitments: Vec<_> = nonces.iter().map(|n| n.commitment().clone()).collect();
    let request = Request {
        message: &message,
        taproot,
        commitments: &commitments,
    };
    let mine = nonces.remove(numbers.iter().position(|number| *number == own).unwrap());

    let secret = share(own).scalar::<C>().unwrap();
    let key = KeyPackage::new(
        identifier::<C>(own).unwrap(),
        SigningShare::new(secret),
        VerifyingShare::new(C::base_mul(&secret)),
        VerifyingKey::new(decode::<C>(&group.commitments()[0]).unwrap()),
        threshold,
    );
    let known = SigningNonces::<C>::from_nonces(
        Nonce::from_scalar(mine.hiding.scalar::<C>().unwrap()),
        Nonce::from_scalar(mine.binding.scalar::<C>().unwrap()),
    );
    let package = package::<C>(&group, &request).unwrap();
    let theirs = round2::sign(&package, &known, &tweak(key)).unwrap();
    let ours = sign(mine, share(own), &group, &request).unwrap();
    (ours, theirs.serialize())
}

#[test]
fn every_suite_signs_as_frost_core_does() {
    for suite in SuiteId::ALL {
        with_suite!(suite, C => {
            for (threshold, numbers, own) in [(2, &[1, 2][..], 2), (2, &[1, 2], 1), (3, &[1, 3, 5], 3), (2, &[2, 3, 4, 5], 5)] {
                let (ours, theirs) = both_halves::<C>(threshold, numbers, own, Taproot::Untweaked, |key| key);

                assert_eq!(ours, theirs, "{} {numbers:?} as {own}", suite.name());
            }
        });
    }
}

#[test]
fn a_taproot_tweak_signs_as_frost_core_does() {
    type C = frost_secp256k1_tr::Secp256K1Sha256TR;
    for _ in 0..ROUNDS {
        for root in [None, Some(&[7u8; 32])] {
            let taproot = root.map_or(Taproot::KeyPath, |root| Taproot::Root(*root));
            let tweak = |key: KeyPackage<C>| key.tweak(root.map(|root| &root[..]));

            let (ours, theirs) = both_halves::<C>(2, &[1, 2], 2, taproot, tweak);

            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn an_untweaked_taproot_half_is_frost_cores_for_odd_and_even_keys() {
    type C = frost_secp256k1_tr::Secp256K1Sha256TR;
    for _ in 0..ROUNDS {
        let (ours, theirs) = both_halves::<C>(2, &[1, 2], 2, Taproot::Untweaked, |key| key);

        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_cosigned_half_and_the_devices_make_a_signature_that_verifies() {
    for suite in SuiteId::ALL {
        let (group, shares) = dealt(suite, 2, 2);
        let device = commit(&shares[0], 1, &mut OsRng).unwrap();
        let asked = Cosign {
            proof: false,
            message: random_message(),
            taproot: Taproot::Untweaked,
            signers: vec![device.signer().clone()],
        };

        let (theirs, z) = cosign(&shares[1], &group, 2, &asked, b"the request").unwrap();
        let commitments = [device.commitment().clone(), theirs];
        let request = Request {
            message: &asked.message,
            taproot: asked.taproot,
            commitments: &commitments,
        };
        let own = sign(device, &shares[0], &group, &request).unwrap();
        let signature = aggregate(&group, &request, &[(1, own), (2, z)]).unwrap();

        verify(&group, &asked.message, asked.taproot, &signature).unwrap();
    }
}

#[test]
fn a_package_without_the_signers_own_commitments_is_refused() {
    let (group, shares) = dealt(SuiteId::Ed25519, 2, 2);
    let first = commit(&shares[0], 1, &mut OsRng).unwrap();
    let another = commit(&shares[1], 2, &mut OsRng).unwrap();
    let mine = commit(&shares[1], 2, &mut OsRng).unwrap();
    let commitments = [first.commitment().clone(), another.commitment().clone()];
    let request = Request {
        message: b"m",
        taproot: Taproot::Untweaked,
        commitments: &commitments,
    };

    let refused = sign(mine, &shares[1], &group, &request);

    assert!(
        matches!(refused, Err(Error::Protocol { .. })),
        "{refused:?}"
    );
}

#[test]
fn signers_out_of_order_or_twice_are_refused() {
    let (group, shares) = dealt(SuiteId::Ed25519, 2, 2);
    for numbers in [[2, 1], [1, 1], [1, 3]] {
        let made = numbers.map(|number| commit(&shares[0], number, &mut OsRng).unwrap());
        let commitments = made.each_ref().map(|nonces| nonces.commitment().clone());
        let request = Request {
            message: b"m",
            taproot: Taproot::Untweaked,
            commitments: &commitments,
        };
        let [mine, _] = made;

        assert!(
            sign(mine, &shares[0], &group, &request).is_err(),
            "{numbers:?}"
        );
    }
}
