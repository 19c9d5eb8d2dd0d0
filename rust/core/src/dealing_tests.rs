//! Any t of n sign, fewer cannot, and whoever cheats is named.

use proptest::prelude::*;
use rand_core::OsRng;

use crate::error::Error;
use crate::polynomial::{deal, Share};
use crate::rotate::rotate;
use crate::round_two::{commit, sign};
use crate::sample::{untweaked, Sample, MESSAGE};
use crate::sign::{aggregate, verify};
use crate::suite::{SuiteId, Taproot};

fn verifies(sample: &Sample, signature: &[u8]) {
    verify(&sample.group, MESSAGE, Taproot::Untweaked, signature).unwrap();
}

/// What the dealer's key becomes at the next epoch.
fn rotated(sample: &Sample) -> Sample {
    let rotation = rotate(&sample.group, &mut OsRng).unwrap();
    let shares = sample
        .shares
        .iter()
        .zip(&rotation.differences)
        .map(|(share, difference)| share.plus(difference).unwrap())
        .collect();
    Sample {
        group: sample.group.at(2, rotation.commitments).unwrap(),
        shares,
    }
}

#[test]
fn every_suite_deals_shares_that_fit_and_sign() {
    for suite in SuiteId::ALL {
        for (threshold, n) in [(2, 2), (2, 3), (3, 5), (7, 7)] {
            let sample = Sample::deal(suite, threshold, n);

            for (number, share) in (1..).zip(&sample.shares) {
                share.check(&sample.group, number).unwrap();
            }
            let last: Vec<u16> = (n - threshold + 1..=n).collect();
            verifies(&sample, &sample.sign(&last, |_| ()).unwrap());
        }
    }
}

#[test]
fn the_largest_group_is_dealt_and_its_shares_fit() {
    let sample = Sample::deal(SuiteId::Ed25519, 255, 255);

    for number in [1, 128, 255] {
        sample.share(number).check(&sample.group, number).unwrap();
    }
}

#[test]
fn participants_of_a_large_group_sign() {
    for threshold in [2, 40] {
        let sample = Sample::deal(SuiteId::Ed25519, threshold, 255);
        let last: Vec<u16> = (256 - threshold..=255).collect();

        verifies(&sample, &sample.sign(&last, |_| ()).unwrap());
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    for (threshold, n) in [(0, 2), (1, 2), (3, 2), (2, 1), (2, 0), (2, 256), (256, 256)] {
        for suite in SuiteId::ALL {
            let refused = deal(suite, threshold, n, &mut OsRng).err();

            assert!(
                matches!(refused, Some(Error::Request(_))),
                "{threshold} of {n}"
            );
        }
    }
}

#[test]
fn a_share_of_another_participant_or_key_does_not_fit() {
    for suite in SuiteId::ALL {
        let (sample, other) = (Sample::deal(suite, 2, 3), Sample::deal(suite, 2, 3));

        sample.share(1).check(&sample.group, 2).unwrap_err();
        other.share(1).check(&sample.group, 1).unwrap_err();
        sample.share(1).check(&sample.group, 0).unwrap_err();
        sample.share(1).check(&sample.group, 4).unwrap_err();
    }
}

#[test]
fn a_share_of_another_suite_is_refused() {
    let ed25519 = Sample::deal(SuiteId::Ed25519, 2, 2);
    let ristretto = Sample::deal(SuiteId::Ristretto255, 2, 2);

    ed25519.share(1).check(&ristretto.group, 1).unwrap_err();
    ed25519.share(1).plus(ristretto.share(1)).unwrap_err();
}

#[test]
fn one_signer_fewer_than_the_threshold_cannot_sign() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 3, 5);

        let refused = sample.sign(&[2, 4], |_| ()).unwrap_err();

        assert!(refused.to_string().contains("too few"), "{refused}");
    }
}

#[test]
fn one_signer_fewer_does_not_sign_under_a_group_of_smaller_threshold_either() {
    let sample = Sample::deal(SuiteId::Ed25519, 3, 5);
    let commitments = sample.group.commitments()[..2].to_vec();
    let names = sample.group.participants.clone();
    let lie = crate::group::Group::new(
        [7; 16],
        names[0].clone(),
        SuiteId::Ed25519,
        0,
        2,
        names,
        1,
        commitments,
    );
    let smaller = Sample {
        group: lie.unwrap(),
        shares: sample.shares.clone(),
    };

    let refused = smaller.sign(&[2, 4], |_| ()).unwrap_err();

    assert!(matches!(refused, Error::Protocol { .. }), "{refused}");
}

#[test]
fn every_cheater_is_named_and_nobody_else() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 4, 6);

        let refused = sample.sign(&[1, 3, 4, 6], |shares| {
            let first = shares[0].1.clone();
            shares[1].1.clone_from(&first);
            shares[3].1 = first;
        });

        let Err(Error::Protocol { culprits, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(culprits, [3, 6], "{}", suite.name());
    }
}

#[test]
fn a_share_that_is_no_scalar_names_its_maker() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 2, 3);

        let refused = sample.sign(&[1, 3], |shares| shares[1].1.fill(0xff));

        let Err(Error::Protocol { culprits, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(culprits, [3]);
    }
}

#[test]
fn a_missing_repeated_or_foreign_signature_share_makes_no_signature() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 4);

    sample
        .sign(&[1, 2], |shares| {
            shares.pop();
        })
        .unwrap_err();
    sample
        .sign(&[1, 2], |shares| shares.push(shares[0].clone()))
        .unwrap_err();
    sample.sign(&[1, 2], |shares| shares[1].0 = 3).unwrap_err();
}

#[test]
fn a_signer_refuses_a_package_without_its_own_commitments() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 3);
    let nonces = [1, 2, 3].map(|i| commit(sample.share(i), i, &mut OsRng).unwrap());
    let others = [
        nonces[1].commitment().clone(),
        nonces[2].commitment().clone(),
    ];
    let mut swapped = [
        nonces[0].commitment().clone(),
        nonces[1].commitment().clone(),
    ];
    swapped[0].hiding = nonces[2].commitment().hiding.clone();
    let [first, second, _] = nonces;

    sign(first, sample.share(1), &sample.group, &untweaked(&others)).unwrap_err();
    let again = commit(sample.share(1), 1, &mut OsRng).unwrap();
    sign(again, sample.share(1), &sample.group, &untweaked(&swapped)).unwrap_err();
    drop(second);
}

#[test]
fn unordered_repeated_and_foreign_commitments_are_refused() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let own = || commit(sample.share(1), 1, &mut OsRng).unwrap();
    let other = commit(sample.share(2), 2, &mut OsRng).unwrap();
    for numbers in [[2, 1], [1, 1], [1, 3], [0, 1]] {
        let nonces = own();
        let mut list = [nonces.commitment().clone(), other.commitment().clone()];
        if numbers == [2, 1] {
            list.swap(0, 1);
        } else {
            (list[0].participant, list[1].participant) = (numbers[0], numbers[1]);
        }

        let refused = sign(nonces, sample.share(1), &sample.group, &untweaked(&list));
        assert!(refused.is_err(), "{numbers:?}");
        assert!(aggregate(&sample.group, &untweaked(&list), &[]).is_err());
    }
}

#[test]
fn a_rotation_keeps_the_key_and_every_new_share_fits() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 3, 4);

        let after = rotated(&sample);

        assert_eq!(after.group.public_key(), sample.group.public_key());
        assert_eq!(after.group.commitments()[0], sample.group.commitments()[0]);
        for (number, share) in (1..).zip(&after.shares) {
            // The old verifying share is gone: what a naive refresh keeps would refuse this share.
            share.check(&after.group, number).unwrap();
            share.check(&sample.group, number).unwrap_err();
        }
        verifies(&sample, &after.sign(&[2, 3, 4], |_| ()).unwrap());
    }
}

#[test]
fn a_rotation_gives_every_participant_a_difference_and_renews_every_commitment() {
    let sample = Sample::deal(SuiteId::Ed25519, 3, 5);

    let rotation = rotate(&sample.group, &mut OsRng).unwrap();

    assert_eq!(rotation.differences.len(), 5);
    assert_eq!(rotation.commitments.len(), 3);
    for k in 1..3 {
        assert_ne!(rotation.commitments[k], sample.group.commitments()[k]);
    }
}

#[test]
fn shares_of_two_epochs_do_not_combine() {
    for suite in SuiteId::ALL {
        let old = Sample::deal(suite, 2, 3);
        let new = rotated(&old);
        for group in [&old.group, &new.group] {
            let mixed = Sample {
                group: group.clone(),
                shares: vec![
                    old.shares[0].clone(),
                    new.shares[1].clone(),
                    new.shares[2].clone(),
                ],
            };

            let refused = mixed.sign(&[1, 2], |_| ()).unwrap_err();

            assert!(matches!(refused, Error::Protocol { .. }), "{refused}");
        }
    }
}

#[test]
fn taproot_keys_of_either_parity_sign_with_every_tweak() {
    let mut parities = [false; 2];
    while parities != [true; 2] {
        let sample = Sample::deal(SuiteId::Secp256k1Tr, 2, 3);
        parities[usize::from(sample.group.commitments()[0][0] - 2)] = true;
        for taproot in [Taproot::Untweaked, Taproot::KeyPath, Taproot::Root([9; 32])] {
            let signature = tweaked(&sample, taproot);

            verify(&sample.group, MESSAGE, taproot, &signature).unwrap();
        }
    }
}

fn tweaked(sample: &Sample, taproot: Taproot) -> Vec<u8> {
    let nonces = [1, 3].map(|i| commit(sample.share(i), i, &mut OsRng).unwrap());
    let commitments = [
        nonces[0].commitment().clone(),
        nonces[1].commitment().clone(),
    ];
    let request = crate::round_two::Request {
        taproot,
        ..untweaked(&commitments)
    };
    let [one, three] = nonces;
    let shares = [
        (
            1,
            sign(one, sample.share(1), &sample.group, &request).unwrap(),
        ),
        (
            3,
            sign(three, sample.share(3), &sample.group, &request).unwrap(),
        ),
    ];
    aggregate(&sample.group, &request, &shares).unwrap()
}

#[test]
fn no_other_suite_takes_a_tweak() {
    for suite in SuiteId::ALL
        .into_iter()
        .filter(|suite| *suite != SuiteId::Secp256k1Tr)
    {
        let sample = Sample::deal(suite, 2, 2);
        let signature = sample.sign(&[1, 2], |_| ()).unwrap();

        verify(&sample.group, MESSAGE, Taproot::KeyPath, &signature).unwrap_err();
    }
}

#[test]
fn secrets_show_nothing_when_printed() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let nonces = commit(sample.share(1), 1, &mut OsRng).unwrap();
    let share: &Share = sample.share(1);

    assert_eq!(format!("{share:?}"), "Share(ed25519, <redacted>)");
    assert_eq!(format!("{nonces:?}"), "Nonces(participant 1, <redacted>)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_t_of_n_sign(
        suite in prop::sample::select(SuiteId::ALL.to_vec()),
        (threshold, n) in (2u16..=5).prop_flat_map(|n| (2..=n, Just(n))),
        seed in any::<u64>(),
    ) {
        let sample = Sample::deal(suite, threshold, n);
        // Any subset of t or more, chosen by the seed.
        let mut signers: Vec<u16> = (1..=n).filter(|i| seed >> i & 1 == 1).collect();
        for i in 1..=n {
            if signers.len() < usize::from(threshold) && !signers.contains(&i) {
                signers.push(i);
            }
        }
        signers.sort_unstable();
        let signature = sample.sign(&signers, |_| ()).unwrap();

        verify(&sample.group, MESSAGE, Taproot::Untweaked, &signature).unwrap();
        verify(&sample.group, b"another", Taproot::Untweaked, &signature).unwrap_err();
    }

    #[test]
    fn a_bent_signature_never_verifies(
        suite in prop::sample::select(SuiteId::ALL.to_vec()),
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let sample = Sample::deal(suite, 2, 2);
        let mut signature = sample.sign(&[1, 2], |_| ()).unwrap();
        let at = at.index(signature.len());
        signature[at] ^= 1 << bit;

        verify(&sample.group, MESSAGE, Taproot::Untweaked, &signature).unwrap_err();
    }
}
