//! Offers open for the one request they answer.

use proptest::prelude::*;

use crate::device_key::{check_device_key, device_key, device_secret};
use crate::group::Group;
use crate::kid::Kid;
use crate::offer::{write_offer, Half, Kind, Offer, Terms};
use crate::payload_tests::LOW_ORDER;
use crate::sample::{mac_key, Sample};
use crate::secret::{DeviceSecret, MacKey};
use crate::suite::SuiteId;

const EXPIRES: &str = "2030-01-01T00:00:00Z";

struct Made {
    sample: Sample,
    secret: DeviceSecret,
    kid: Kid,
    payload: Vec<u8>,
}

fn made(suite: SuiteId, escrow: usize) -> Made {
    let sample = Sample::deal(suite, 2, 2);
    let secret = device_secret();
    let kid = Kid {
        key: sample.group.key_id(),
        epoch: 0,
    };
    let terms = terms(&sample.group, device_key(&secret));
    let half = Half {
        share: sample.share(1).clone(),
        channel: mac_key(3),
        escrow: vec![5; escrow],
    };
    let payload = write_offer(&terms, &half, &mac_key(1), &kid, EXPIRES).unwrap();
    Made {
        sample,
        secret,
        kid,
        payload,
    }
}

fn terms(group: &Group, device_key: [u8; 32]) -> Terms<'_> {
    Terms {
        group,
        kind: Kind::Share,
        participant: 1,
        device_key,
        offer_id: [4; 16],
    }
}

impl Made {
    fn open(&self, payload: &[u8], psk: &MacKey) -> crate::Result<Half> {
        Offer::read(payload)?.open(&self.secret, 1, psk, &self.kid)
    }

    /// The payload with one field changed.
    fn with(&self, pointer: &str, value: serde_json::Value) -> Vec<u8> {
        let mut json: serde_json::Value = serde_json::from_slice(&self.payload).unwrap();
        *json.pointer_mut(pointer).unwrap() = value;
        serde_json::to_vec(&json).unwrap()
    }
}

#[test]
fn an_offer_of_every_suite_opens_to_what_was_sealed() {
    for suite in SuiteId::ALL {
        let made = made(suite, 10);

        let half = made.open(&made.payload, &mac_key(1)).unwrap();

        half.share.check(&made.sample.group, 1).unwrap();
        assert!(half.channel.same_as(&mac_key(3)));
        assert_eq!(half.escrow, [5; 10]);
    }
}

#[test]
fn an_escrow_has_at_most_1024_bytes() {
    let (largest, larger) = (made(SuiteId::Ed25519, 1024), made(SuiteId::Ed25519, 1025));

    largest.open(&largest.payload, &mac_key(1)).unwrap();
    assert!(larger.open(&larger.payload, &mac_key(1)).is_err());
}

#[test]
fn another_psk_kid_device_key_or_participant_does_not_open_it() {
    let made = made(SuiteId::Ed25519, 0);
    let offer = Offer::read(&made.payload).unwrap();
    let psk = mac_key(1);
    let next = Kid {
        epoch: 1,
        ..made.kid
    };
    let other_key = Kid {
        key: [0; 16],
        ..made.kid
    };

    assert!(offer.open(&made.secret, 1, &mac_key(2), &made.kid).is_err());
    assert!(offer.open(&made.secret, 1, &psk, &next).is_err());
    assert!(offer.open(&made.secret, 1, &psk, &other_key).is_err());
    assert!(offer.open(&device_secret(), 1, &psk, &made.kid).is_err());
    assert!(offer.open(&made.secret, 2, &psk, &made.kid).is_err());
    assert!(offer.open(&made.secret, 1, &psk, &made.kid).is_ok());
}

#[test]
fn every_public_field_is_bound_to_what_is_sealed() {
    let made = made(SuiteId::Ed25519, 0);
    let other = Sample::deal(SuiteId::Ed25519, 2, 2);
    let commitment = hex::encode(&other.group.commitments()[1]);
    let enc = hex::encode(device_key(&device_secret()));
    for (pointer, value) in [
        ("/group/epoch", 2.into()),
        ("/group/commitments/1", commitment.into()),
        ("/group/participants/1", "another".into()),
        ("/kind", "difference".into()),
        ("/offer_id", "00".repeat(16).into()),
        ("/enc", enc.into()),
        ("/sealed", "00".repeat(80).into()),
        ("/sealed", "".into()),
    ] {
        let bent = made.with(pointer, value);

        assert!(Offer::read(&bent).is_ok(), "{pointer} has a possible form");
        assert!(made.open(&bent, &mac_key(1)).is_err(), "{pointer}");
    }
}

#[test]
fn an_offer_is_read_strictly() {
    let made = made(SuiteId::Ed25519, 0);
    let key = made.sample.group.public_key().unwrap();
    let other = hex::encode(
        Sample::deal(SuiteId::Ed25519, 2, 2)
            .group
            .public_key()
            .unwrap(),
    );
    let group: serde_json::Value = serde_json::from_slice(&made.payload).unwrap();
    let values: Vec<_> = group["group"]
        .as_object()
        .unwrap()
        .values()
        .cloned()
        .collect();
    for (pointer, value) in [
        ("/v", 2.into()),
        ("/type", "Offer".into()),
        ("/kind", "Share".into()),
        ("/offer_id", "00".into()),
        ("/offer_id", "AB".repeat(16).into()),
        ("/enc", "00".repeat(31).into()),
        ("/expires", "2030-01-01T00:00:00".into()),
        ("/expires", "2030-01-01 00:00:00Z".into()),
        ("/expires", "٢٠٣٠-01-01T00:00:00Z".into()),
        ("/group", serde_json::Value::Array(values)),
        ("/group/v", 2.into()),
        ("/group/key", "00".repeat(16).into()),
        ("/group/user", "bob".into()),
        ("/group/vault", "00".repeat(16).into()),
        ("/group/suite", "ed25519".into()),
        ("/group/suite", "FROST-RISTRETTO255-SHA512-v1".into()),
        ("/group/generation", 1.into()),
        ("/group/generation", (1u64 << 53).into()),
        ("/group/epoch", (1u64 << 53).into()),
        ("/group/epoch", 1.0.into()),
        ("/group/threshold", 1.into()),
        ("/group/threshold", 3.into()),
        ("/group/threshold", 65538.into()),
        ("/group/participants", serde_json::json!(["device-1"])),
        (
            "/group/participants",
            serde_json::json!(["server", "server"]),
        ),
        ("/group/participants", serde_json::json!(["device-1", ""])),
        (
            "/group/participants",
            serde_json::json!(["device-1", "x".repeat(256)]),
        ),
        ("/group/public_key", other.into()),
        ("/group/public_key", hex::encode(&key).to_uppercase().into()),
        ("/group/commitments", serde_json::json!([hex::encode(&key)])),
        ("/group/commitments/0", "00".repeat(32).into()),
        ("/group/commitments/1", "01".into()),
    ] {
        let bent = made.with(pointer, value.clone());

        assert!(Offer::read(&bent).is_err(), "{pointer} {value}");
    }
}

#[test]
fn an_offer_whose_fields_are_missing_unknown_or_repeated_is_refused() {
    let made = made(SuiteId::Ed25519, 0);
    let text = String::from_utf8(made.payload.clone()).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for field in json.as_object().unwrap().keys() {
        let mut less = json.clone();
        less.as_object_mut().unwrap().remove(field);
        assert!(Offer::read(less.to_string().as_bytes()).is_err(), "{field}");
    }
    for more in [r#"{"v":1,"#, r#"{"more":1,"#] {
        assert!(Offer::read(text.replacen('{', more, 1).as_bytes()).is_err());
    }
    assert!(Offer::read(format!("{text} {{}}").as_bytes()).is_err());
}

#[test]
fn an_ephemeral_key_of_low_order_is_refused() {
    let made = made(SuiteId::Ed25519, 0);
    for low in &LOW_ORDER[..5] {
        assert!(made
            .open(&made.with("/enc", (*low).into()), &mac_key(1))
            .is_err());
    }
}

#[test]
fn device_keys_of_low_order_or_another_spelling_are_refused() {
    for low in LOW_ORDER {
        let key = hex::decode(low).unwrap().try_into().unwrap();
        assert!(check_device_key(&key).is_err(), "{low}");
    }
    check_device_key(&device_key(&device_secret())).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_offer_with_a_bent_byte_does_not_open(at in any::<prop::sample::Index>(), bit in 0u32..7) {
        let made = made(SuiteId::Ed25519, 0);
        let mut payload = made.payload.clone();
        // The date is no reason for a device to refuse, and decides nothing.
        let end = payload.len() - EXPIRES.len() - 2;
        payload[at.index(end)] ^= 1 << bit;

        prop_assert!(made.open(&payload, &mac_key(1)).is_err());
    }
}
