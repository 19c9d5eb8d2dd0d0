//! What a message may cost: whatever is in it, no more than three times what an honest one does.

use crate::commitment::{Commitment, Signer};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::kid::Kid;
use crate::message::MAX_MESSAGE;
use crate::request::{read_request, Request};
use crate::round_two::commit;
use crate::sample::Sample;
use crate::suite::{elements_decoded, SuiteId};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use rand_core::OsRng;

/// The elements that reading this payload decodes, and what came of it.
fn cost(sample: &Sample, payload: &serde_json::Value) -> (u64, Result<Request>) {
    let kid = Kid {
        key: sample.group.key_id(),
        epoch: 1,
    };
    let before = elements_decoded();
    let read = read_request(payload.to_string().as_bytes(), &kid, &sample.group);
    (elements_decoded() - before, read)
}

fn listed(commitment: &Commitment) -> serde_json::Value {
    serde_json::json!({"participant": commitment.participant,
        "hiding": hex::encode(&commitment.hiding), "binding": hex::encode(&commitment.binding)})
}

fn cosign(sample: &Sample, commitments: &[serde_json::Value]) -> serde_json::Value {
    serde_json::json!({"v": 1, "type": "cosign", "key": hex::encode(sample.group.key_id()), "epoch": 1,
        "purpose": "sign", "message": "", "taproot_root": null, "commitments": commitments})
}

fn honest(sample: &Sample, participant: u16) -> serde_json::Value {
    let nonces = commit(sample.share(participant), participant, &mut OsRng).unwrap();
    listed(Signer::commitment(nonces.signer()))
}

#[test]
fn commitments_are_counted_and_ordered_before_the_first_is_decoded() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 2, 2);
        let one = honest(&sample, 1);
        let as_number = |number: u64| {
            let mut other = one.clone();
            other["participant"] = number.into();
            other
        };
        let (fair, read) = cost(&sample, &cosign(&sample, std::slice::from_ref(&one)));
        assert!(read.is_ok() && fair == 2, "{suite:?} {fair}");

        let rising: Vec<_> = (1..=250).map(as_number).collect();
        for flood in [
            vec![one.clone(); 2],
            vec![one.clone(); 9_000],
            vec![as_number(2)],
            vec![as_number(0), one.clone()],
            vec![one.clone(), as_number(2)],
            vec![one.clone(), as_number(u64::from(u32::MAX))],
            rising,
        ] {
            let (decoded, read) = cost(&sample, &cosign(&sample, &flood));

            assert!(matches!(read, Err(Error::Malformed(_))));
            assert_eq!(decoded, 0, "{suite:?} {}", flood.len());
        }
    }
}

#[test]
fn lengths_are_compared_before_the_first_commitment_is_decoded() {
    for suite in SuiteId::ALL {
        let sample = Sample::deal(suite, 3, 5);
        let mut all: Vec<_> = (1..5).map(|number| honest(&sample, number)).collect();
        assert_eq!(cost(&sample, &cosign(&sample, &all)).0, 8);

        all[3]["binding"] = "ab".into();
        let (decoded, read) = cost(&sample, &cosign(&sample, &all));

        assert!(matches!(read, Err(Error::Malformed(_))));
        assert_eq!(decoded, 0, "{suite:?}");
    }
}

#[test]
fn no_other_type_of_message_decodes_an_element_while_it_is_read() {
    let sample = Sample::deal(SuiteId::Ed448, 2, 2);
    let key = hex::encode(sample.group.key_id());
    let point = hex::encode(&sample.group.commitments()[0]);
    for own in [
        serde_json::json!({"type": "claim", "participant": 1, "device_key": "09".repeat(32)}),
        serde_json::json!({"type": "rotate", "participant": 1, "device_key": point.clone()}),
        serde_json::json!({"type": "prove", "offer_id": "ab".repeat(16), "signature": "ab".repeat(1 << 19)}),
        serde_json::json!({"type": "abandon", "offer_id": "ab".repeat(1 << 19)}),
        serde_json::json!({"type": "status", "commitments": vec![point.clone(); 9_000]}),
        serde_json::json!({"type": "status"}),
    ] {
        let mut payload = own.clone();
        payload["v"] = 1.into();
        payload["key"] = key.clone().into();
        payload["epoch"] = 1.into();

        assert_eq!(cost(&sample, &payload).0, 0, "{}", own["type"]);
    }
}

#[test]
fn the_longest_message_of_the_most_signers_is_still_read() {
    let sample = Sample::deal(SuiteId::Ed448, 2, 255);
    let all: Vec<_> = (1..255).map(|number| honest(&sample, number)).collect();
    let mut payload = cosign(&sample, &all);
    payload["message"] = URL_SAFE_NO_PAD.encode(vec![0xff; MAX_MESSAGE]).into();
    let kid = Kid {
        key: sample.group.key_id(),
        epoch: 1,
    };
    let compact = crate::message::compact(
        &kid,
        payload.to_string().as_bytes(),
        &crate::sample::mac_key(1),
    );

    assert!(crate::message::Envelope::parse(&compact).is_ok());
    assert!(cost(&sample, &payload).1.is_ok());
    payload["message"] = URL_SAFE_NO_PAD.encode(vec![0xff; MAX_MESSAGE + 1]).into();
    assert_eq!(cost(&sample, &payload).0, 0);
}

#[test]
fn an_offers_commitments_are_decoded_once_however_many_take_part() {
    let sample = Sample::deal(SuiteId::Ed448, 9, 99);
    let wire = sample.group.to_wire().unwrap();
    let before = elements_decoded();
    Group::from_wire(&wire).unwrap();

    // Each commitment, and the public key once more.
    assert_eq!(elements_decoded() - before, 10);
}
