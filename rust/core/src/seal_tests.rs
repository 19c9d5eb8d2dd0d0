//! Records open in the one place they were sealed for.

use proptest::prelude::*;
use rand_core::OsRng;

use crate::group::Group;
use crate::sample::Sample;
use crate::seal::{channel_key, enrolment_code, Pending, Role, Row, Sealer};
use crate::secret::DataKey;
use crate::suite::SuiteId;

fn row(group: &Group) -> Row {
    Row {
        group: group.clone(),
        next_epoch: 2,
        state: "live".into(),
        origin: "dealer".into(),
        attested: false,
        salt: None,
        offer_id: Some([9; 16]),
        standing: None,
    }
}

#[test]
fn a_record_opens_in_its_own_row_role_number_and_participant_only() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 2, 2);
        let (sealer, row) = (Sealer::new(&DataKey::random()), row(&sample.group));
        let aad = row.context(Role::Current, 3, 2);
        let record = sealer.seal(sample.share(2), &aad, &mut OsRng).unwrap();

        let opened = sealer.open(&sample.group, &record, &aad).unwrap();
        opened.check(&sample.group, 2).unwrap();
        for other in [
            row.context(Role::Claim, 3, 2),
            row.context(Role::Current, 4, 2),
            row.context(Role::Current, 3, 1),
        ] {
            assert!(sealer.open(&sample.group, &record, &other).is_err());
        }
        assert!(Sealer::new(&DataKey::random())
            .open(&sample.group, &record, &aad)
            .is_err());
    }
}

#[test]
fn every_column_of_a_row_changes_its_context() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let first = row(&sample.group);
    let changes: [fn(&mut Row); 10] = [
        |row| row.standing = Some([8; 16]),
        |row| row.next_epoch += 1,
        |row| row.state = "dealt".into(),
        |row| row.origin = "software".into(),
        |row| row.attested = true,
        |row| row.salt = Some([0; 16]),
        |row| row.offer_id = None,
        |row| row.group = row.group.at(2, row.group.commitments().to_vec()).unwrap(),
        |row| row.group.user.push('x'),
        |row| row.group.commitments.swap(0, 1),
    ];
    for change in changes {
        let mut other = first.clone();
        change(&mut other);

        assert_ne!(
            other.context(Role::Current, 1, 2),
            first.context(Role::Current, 1, 2)
        );
    }
}

#[test]
fn every_column_of_a_standing_offer_changes_its_context() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let other = Sample::deal(SuiteId::Ed25519, 2, 2);
    let row = row(&sample.group);
    let first = Pending {
        epoch: 2,
        commitments: sample.group.commitments(),
        offer_id: &[1; 16],
        device_key: &[2; 32],
        expires: 3,
        payload: b"offer",
    };
    let mut contexts = vec![
        row.context(Role::Pending(first), 1, 2),
        row.context(Role::Current, 1, 2),
    ];
    for changed in [
        Pending { epoch: 3, ..first },
        Pending {
            commitments: other.group.commitments(),
            ..first
        },
        Pending {
            offer_id: &[0; 16],
            ..first
        },
        Pending {
            device_key: &[0; 32],
            ..first
        },
        Pending {
            expires: 4,
            ..first
        },
        Pending {
            payload: b"other",
            ..first
        },
    ] {
        contexts.push(row.context(Role::Pending(changed), 1, 2));
    }

    let count = contexts.len();
    contexts.sort();
    contexts.dedup();
    assert_eq!(contexts.len(), count);
}

#[test]
fn a_record_of_another_version_or_cut_short_does_not_open() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let sealer = Sealer::new(&DataKey::random());
    let record = sealer.seal(sample.share(2), b"aad", &mut OsRng).unwrap();
    let mut other = record.clone();
    other[0] = 2;

    assert!(sealer.open(&sample.group, &other, b"aad").is_err());
    for len in 0..record.len() {
        assert!(sealer.open(&sample.group, &record[..len], b"aad").is_err());
    }
}

#[test]
fn channel_keys_and_codes_differ_by_everything_they_are_derived_from() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let group = &sample.group;
    let share = sample.share(2);
    let other = Sample::deal(SuiteId::Ed25519, 2, 2);
    let key = DataKey::random();
    let mut keys: Vec<[u8; 32]> = [
        channel_key(share, group, 1, 1),
        channel_key(share, group, 1, 2),
        channel_key(share, group, 2, 1),
        channel_key(other.share(2), group, 1, 1),
        enrolment_code(&key, &[0; 16], &[0; 16], &[0; 16]),
        enrolment_code(&key, &[1; 16], &[0; 16], &[0; 16]),
        enrolment_code(&key, &[0; 16], &[1; 16], &[0; 16]),
        enrolment_code(&key, &[0; 16], &[0; 16], &[1; 16]),
        enrolment_code(&DataKey::random(), &[0; 16], &[0; 16], &[0; 16]),
    ]
    .iter()
    .map(|key| *key.expose())
    .collect();

    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_sealed_opens_again_and_a_bent_record_does_not(
        suite in prop::sample::select(SuiteId::ALL.to_vec()),
        aad in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let sample = Sample::deal(suite, 2, 2);
        let sealer = Sealer::new(&DataKey::random());
        let mut record = sealer.seal(sample.share(1), &aad, &mut OsRng).unwrap();
        let opened = sealer.open(&sample.group, &record, &aad).unwrap();
        prop_assert!(opened.check(&sample.group, 1).is_ok());
        let at = at.index(record.len());
        record[at] ^= 1 << bit;

        prop_assert!(sealer.open(&sample.group, &record, &aad).is_err());
    }
}
