//! What a device believes, keeps and forgets.

use crate::answer::Answer;
use crate::device::{Device, Held};
use crate::error::Error;
use crate::kid::Kid;
use crate::message::{compact, Envelope};
use crate::offer::{write_offer, Half, Kind, Terms};
use crate::polynomial::Share;
use crate::request::{read_request, Request};
use crate::rotate::rotate;
use crate::round_two::cosign;
use crate::sample::Sample;
use crate::seal::channel_key;
use crate::suite::SuiteId;

use rand_core::OsRng;

const OFFER: [u8; 16] = [6; 16];

/// A device that holds epoch 1 of the sample's key.
pub(crate) fn enrolled(sample: &Sample) -> Device {
    let mut device = Device::new(sample.group.user()).unwrap();
    device.current = Some(Held {
        group: sample.group.clone(),
        share: sample.share(1).clone(),
        channel: channel_key(sample.share(2), &sample.group, 1, 1),
        offer_id: [5; 16],
        escrow: vec![1, 2, 3],
    });
    device
}

fn kid(sample: &Sample, epoch: u64) -> Kid {
    Kid {
        key: sample.group.key_id(),
        epoch,
    }
}

/// A rotation's offer as an honest cosigner makes it, and the server's share of its epoch.
pub(crate) struct Rotated {
    pub(crate) sample: Sample,
    pub(crate) answer: String,
}

pub(crate) fn offered(
    device: &Device,
    sample: &Sample,
    spoil: impl FnOnce(&mut Sample, &mut Kind),
) -> Rotated {
    let envelope = Envelope::parse(&device.ask().unwrap()).unwrap();
    let psk = &device.current.as_ref().unwrap().channel;
    let payload = envelope.payload(psk).unwrap();
    let Ok(Request::Rotate { device_key }) = read_request(&payload, &envelope.kid, &sample.group)
    else {
        panic!("the device asks for a rotation")
    };
    let rotation = rotate(&sample.group, &mut OsRng).unwrap();
    let pending = sample.share(2).plus(&rotation.differences[1]).unwrap();
    let mut made = Sample {
        group: sample.group.at(2, rotation.commitments).unwrap(),
        shares: vec![rotation.differences[0].clone(), pending],
    };
    let mut kind = Kind::Difference;
    spoil(&mut made, &mut kind);
    let terms = Terms {
        group: &made.group,
        kind,
        participant: 1,
        device_key,
        offer_id: OFFER,
    };
    let half = Half {
        share: made.shares[0].clone(),
        channel: channel_key(made.share(2), &made.group, 1, 2),
        escrow: Vec::new(),
    };
    let payload = write_offer(&terms, &half, psk, &envelope.kid, "2030-01-01T00:00:00Z").unwrap();
    Rotated {
        answer: compact(&envelope.kid, &payload, psk),
        sample: made,
    }
}

fn accepts(suite: SuiteId, spoil: impl FnOnce(&mut Sample, &mut Kind)) -> crate::Result<()> {
    let sample = Sample::deal(suite, 2, 2);
    let mut device = enrolled(&sample);
    device.prepare();
    let rotated = offered(&device, &sample, spoil);
    let result = device.accept_offer(&rotated.answer);
    assert_eq!(device.pending.is_some(), result.is_ok());
    result
}

#[test]
fn an_honest_rotation_is_accepted_for_every_suite() {
    for suite in SuiteId::ALL {
        accepts(suite, |_, _| ()).unwrap();
    }
}

#[test]
fn an_offer_that_would_move_the_key_is_refused() {
    let refused = accepts(SuiteId::Ed25519, |made, _| {
        let other = Sample::deal(SuiteId::Ed25519, 2, 2);
        made.group = made
            .group
            .at(2, other.group.commitments().to_vec())
            .unwrap();
    });

    assert!(
        matches!(refused, Err(Error::Protocol { .. })),
        "{refused:?}"
    );
}

#[test]
fn an_offer_that_renews_nothing_is_refused() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let mut device = enrolled(&sample);
    device.prepare();
    // The old commitments again, with the difference that fits them: zero.
    let old = sample.group.commitments().to_vec();
    let rotated = offered(&device, &sample, |made, _| {
        made.group = made.group.at(2, old).unwrap();
        made.shares[0] = Share::from_bytes(SuiteId::Ed25519, &[0; 32]).unwrap();
    });

    let refused = device.accept_offer(&rotated.answer).unwrap_err();

    assert!(refused.to_string().contains("renew"), "{refused}");
}

#[test]
fn an_offer_whose_share_does_not_fit_its_commitments_is_refused() {
    let refused = accepts(SuiteId::Ed25519, |made, _| made.shares.swap(0, 1));

    assert!(
        matches!(refused, Err(Error::Protocol { .. })),
        "{refused:?}"
    );
}

#[test]
fn an_offer_at_the_device_s_own_epoch_or_below_is_refused() {
    for epoch in [0, 1] {
        let refused = accepts(SuiteId::Ed25519, |made, _| {
            made.group = made
                .group
                .at(epoch, made.group.commitments().to_vec())
                .unwrap();
        });

        assert!(refused.unwrap_err().to_string().contains("not above"));
    }
}

#[test]
fn a_whole_share_is_no_rotation() {
    let refused = accepts(SuiteId::Ed25519, |_, kind| *kind = Kind::Share);

    assert!(refused.unwrap_err().to_string().contains("difference"));
}

#[test]
fn an_offer_that_changes_the_roster_is_refused() {
    let refused = accepts(SuiteId::Ed25519, |made, _| {
        made.group.participants.push("third".into());
    });

    assert!(refused.unwrap_err().to_string().contains("change the key"));
}

#[test]
fn an_offer_recorded_earlier_does_not_answer_a_later_request() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let mut device = enrolled(&sample);
    device.prepare();
    let old = offered(&device, &sample, |_, _| ());
    device.request = None;
    device.prepare();

    let refused = device.accept_offer(&old.answer);

    assert!(
        matches!(refused, Err(Error::Protocol { .. })),
        "{refused:?}"
    );
}

#[test]
fn only_committed_for_the_pending_offer_ends_the_old_epoch() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let mut device = enrolled(&sample);
    device.prepare();
    let rotated = offered(&device, &sample, |_, _| ());
    device.accept_offer(&rotated.answer).unwrap();
    let offered_kid = kid(&sample, 2);
    let channel = channel_key(rotated.sample.share(2), &rotated.sample.group, 1, 2);
    let say = |answer: Answer| compact(&offered_kid, &answer.write(&offered_kid), &channel);

    device
        .accept_commit(&say(Answer::Committed { offer_id: [0; 16] }))
        .unwrap_err();
    device
        .accept_commit(&say(Answer::Abandoned { offer_id: OFFER }))
        .unwrap_err();
    device
        .accept_commit(&crate::answer::bare_refusal("unknown-epoch"))
        .unwrap_err();
    let old_kid = kid(&sample, 1);
    let by_old = compact(
        &old_kid,
        &Answer::Committed { offer_id: OFFER }.write(&old_kid),
        &channel,
    );
    device.accept_commit(&by_old).unwrap_err();
    assert_eq!((device.epoch(), device.pending_epoch()), (1, Some(2)));

    device
        .accept_commit(&say(Answer::Committed { offer_id: OFFER }))
        .unwrap();
    assert_eq!((device.epoch(), device.pending_epoch()), (2, None));
}

#[test]
fn an_abandoned_offer_goes_and_the_old_epoch_stays() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let mut device = enrolled(&sample);
    device.prepare();
    let rotated = offered(&device, &sample, |_, _| ());
    device.accept_offer(&rotated.answer).unwrap();
    let old = kid(&sample, 1);
    let channel = channel_key(sample.share(2), &sample.group, 1, 1);
    let say = |offer_id| compact(&old, &Answer::Abandoned { offer_id }.write(&old), &channel);

    device.accept_abandoned(None, &say([0; 16])).unwrap_err();
    assert_eq!(device.pending_epoch(), Some(2));
    device.accept_abandoned(None, &say(OFFER)).unwrap();
    assert_eq!((device.epoch(), device.pending_epoch()), (1, None));
}

#[test]
fn a_cosigner_whose_share_is_wrong_is_named() {
    let sample = Sample::deal(SuiteId::Ed25519, 2, 2);
    let device = enrolled(&sample);
    let (round, question) = device
        .ask_signature(b"message".to_vec(), Default::default())
        .unwrap();
    let kid = kid(&sample, 1);
    let channel = channel_key(sample.share(2), &sample.group, 1, 1);
    let payload = Envelope::parse(&question)
        .unwrap()
        .payload(&channel)
        .unwrap();
    let Ok(Request::Cosign(asked)) = read_request(&payload, &kid, &sample.group) else {
        panic!("the device asks for a signature")
    };
    // The share of another epoch: a thief's.
    let wrong = Sample::deal(SuiteId::Ed25519, 2, 2);
    let (commitment, share) = cosign(wrong.share(2), &sample.group, 2, &asked, &payload).unwrap();
    let answer = Answer::Cosigned { commitment, share };

    let refused = device.accept_signature(round, &compact(&kid, &answer.write(&kid), &channel));

    let Err(Error::Protocol { culprits, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(culprits, [2]);
}

#[test]
fn a_cosigner_s_answer_is_read_strictly() {
    let sample = Sample::deal(SuiteId::Secp256k1, 2, 2);
    let device = enrolled(&sample);
    let kid = kid(&sample, 1);
    let channel = channel_key(sample.share(2), &sample.group, 1, 1);
    let spoils: [fn(&mut crate::commitment::Commitment, &mut Vec<u8>); 8] = [
        |commitment, _| commitment.participant = 1,
        |commitment, _| commitment.participant = 0,
        |commitment, _| commitment.participant = 3,
        |commitment, _| commitment.hiding = uncompressed(),
        |commitment, _| commitment.binding = uncompressed(),
        |commitment, _| commitment.hiding[0] = 5,
        |commitment, _| commitment.binding.clear(),
        |_, share| share.push(0),
    ];
    for spoil in spoils {
        let (round, question) = device
            .ask_signature(b"message".to_vec(), Default::default())
            .unwrap();
        let payload = Envelope::parse(&question)
            .unwrap()
            .payload(&channel)
            .unwrap();
        let Ok(Request::Cosign(asked)) = read_request(&payload, &kid, &sample.group) else {
            panic!("the device asks for a signature")
        };
        let (mut commitment, mut share) =
            cosign(sample.share(2), &sample.group, 2, &asked, &payload).unwrap();
        spoil(&mut commitment, &mut share);
        let answer = Answer::Cosigned { commitment, share };

        let refused = device.accept_signature(round, &compact(&kid, &answer.write(&kid), &channel));
        assert!(refused.is_err());
    }
}

/// The generator of secp256k1 as an uncompressed point.
fn uncompressed() -> Vec<u8> {
    use k256::elliptic_curve::sec1::ToEncodedPoint;
    k256::AffinePoint::GENERATOR
        .to_encoded_point(false)
        .as_bytes()
        .to_vec()
}

#[test]
fn a_token_has_one_spelling() {
    let (key, code) = ("ab".repeat(16), "cd".repeat(32));
    let mut device = Device::new("alice").unwrap();

    device.take_token(&format!("{key}.{code}")).unwrap();
    for other in [
        String::new(),
        format!("{key}{code}"),
        format!("{key}.{code}."),
        format!("{}.{code}", key.to_uppercase()),
        format!("{key}.{}", code.to_uppercase()),
        format!("{key}.{}", &code[2..]),
        format!(" {key}.{code}"),
    ] {
        assert!(device.take_token(&other).is_err(), "{other}");
    }
}
