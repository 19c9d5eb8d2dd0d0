//! What derivation promises; an independent computation stands in the Python tests.

use super::*;
use crate::group::Group;

fn node(byte: u8) -> Node {
    Node::from_slice(&[byte; 64]).unwrap()
}

fn path<'a>(suite: SuiteId, epoch: u64, offer_id: &'a [u8; 16]) -> Path<'a> {
    Path {
        user: "alice",
        suite,
        generation: 0,
        threshold: 2,
        participants: 2,
        epoch,
        offer_id,
    }
}

#[test]
fn shares_fit_their_commitments_and_only_the_key_outlives_an_epoch() {
    for suite in SuiteId::ALL {
        let first = derive(&node(7), &path(suite, 1, &[1; 16])).unwrap();
        let later = derive(&node(7), &path(suite, 9, &[2; 16])).unwrap();
        let names = vec!["alice".to_owned(), "server".to_owned()];
        let group = Group::new(
            [0; 16],
            "alice".into(),
            suite,
            0,
            2,
            names,
            1,
            first.commitments.clone(),
        )
        .unwrap();

        assert_eq!(first.commitments[0], later.commitments[0]);
        assert_ne!(first.commitments[1], later.commitments[1]);
        for (share, number) in first.shares.iter().zip(1..) {
            share.check(&group, number).unwrap();
            assert!(later.shares[usize::from(number) - 1]
                .check(&group, number)
                .is_err());
            let alone = derive_share(&node(7), &path(suite, 1, &[1; 16]), number).unwrap();
            assert_eq!(alone.expose(), share.expose());
        }
    }
}

#[test]
fn a_difference_leads_from_one_epoch_to_another() {
    let first = derive(&node(7), &path(SuiteId::Ed25519, 1, &[1; 16])).unwrap();
    let later = derive(&node(7), &path(SuiteId::Ed25519, 2, &[2; 16])).unwrap();

    let step = difference(&first.shares[0], &later.shares[0]).unwrap();

    assert_eq!(
        first.shares[0].plus(&step).unwrap().expose(),
        later.shares[0].expose()
    );
}

#[test]
fn another_node_or_offer_gives_another_polynomial() {
    let own = derive(&node(7), &path(SuiteId::Ed25519, 1, &[1; 16])).unwrap();
    let offered_again = derive(&node(7), &path(SuiteId::Ed25519, 1, &[2; 16])).unwrap();
    let foreign = derive(&node(8), &path(SuiteId::Ed25519, 1, &[1; 16])).unwrap();

    assert_ne!(own.commitments[1], offered_again.commitments[1]);
    assert_ne!(own.commitments[0], foreign.commitments[0]);
}

#[test]
fn a_row_is_checked_under_its_own_user_only() {
    let tag = row_mac(&node(7), "alice", b"columns");

    check_row(&node(7), "alice", b"columns", &tag).unwrap();
    assert!(check_row(&node(7), "bob", b"columns", &tag).is_err());
    assert!(check_row(&node(7), "alice", b"column", &tag).is_err());
    assert!(check_row(&node(7), "alice", b"columns", &tag[..15]).is_err());
}
