//! Payloads are read in one spelling only: every field once, every value as it would be written.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;

use crate::error::Error;
use crate::message::is_reserved;
use crate::message_tests::{read, sample, HEX_KEY};
use crate::request::{taproot_from, Request};
use crate::sample::Sample;
use crate::suite::{SuiteId, Taproot};

fn all_malformed(sample: &Sample, payloads: &[&str]) {
    for payload in payloads {
        let refused = read(sample, payload);
        assert!(
            matches!(refused, Err(Error::Malformed(_))),
            "{payload}: {refused:?}"
        );
    }
}

#[test]
fn fields_come_in_any_order_and_with_any_spaces() {
    let sample = sample();

    let read = read(
        &sample,
        r#" { "epoch": 1, "type": "status", "key": "KEY", "v": 1 } "#,
    );

    assert!(matches!(read, Ok(Request::Status)));
}

#[test]
fn missing_unknown_and_repeated_fields_are_malformed() {
    all_malformed(
        &sample(),
        &[
            r#"{"v":1,"type":"status","key":"KEY"}"#,
            r#"{"v":1,"key":"KEY","epoch":1}"#,
            r#"{"type":"status","key":"KEY","epoch":1}"#,
            r#"{"v":1,"type":"status","key":"KEY","epoch":1,"due":false}"#,
            r#"{"v":1,"type":"status","key":"KEY","epoch":1,"epoch":1}"#,
            r#"{"v":1,"v":1,"type":"status","key":"KEY","epoch":1}"#,
            r#"{"v":1,"type":"status","type":"status","key":"KEY","epoch":1}"#,
            r#"{"v":1,"type":"status","key":"KEY","key":"KEY","epoch":1}"#,
            r#"{"v":1,"type":"abandon","key":"KEY","epoch":1}"#,
            r#"{"v":1,"type":"cosign","key":"KEY","epoch":1,"purpose":"sign","message":"","commitments":[]}"#,
        ],
    );
}

#[test]
fn a_payload_is_one_object_and_nothing_else() {
    all_malformed(
        &sample(),
        &[
            "",
            "null",
            "1",
            "\"status\"",
            "[]",
            // serde would read these as the fields in order.
            r#"["status",1,"KEY",1]"#,
            r#"[{"v":1,"type":"status","key":"KEY","epoch":1}]"#,
            r#"{"v":1,"type":"status","key":"KEY","epoch":1}{}"#,
            r#"{"v":1,"type":"status","key":"KEY","epoch":1},"#,
            r#"{"v":1,"type":"status","key":"KEY","epoch":1,}"#,
            "{\"v\":1,\"type\":\"status\",\"key\":\"KEY\",\"epoch\":1}\0",
            "\u{feff}{\"v\":1,\"type\":\"status\",\"key\":\"KEY\",\"epoch\":1}",
        ],
    );
}

#[test]
fn integers_have_no_fraction_exponent_or_quotes() {
    for epoch in [
        "1.0", "1e0", "10e-1", "\"1\"", "-1", "+1", "01", "0x1", "1.", "true", "null", "[1]",
    ] {
        let payload = format!(r#"{{"v":1,"type":"status","key":"KEY","epoch":{epoch}}}"#);
        all_malformed(&sample(), &[&payload]);
    }
    for v in ["0", "2", "1.0", "\"1\""] {
        let payload = format!(r#"{{"v":{v},"type":"status","key":"KEY","epoch":1}}"#);
        all_malformed(&sample(), &[&payload]);
    }
}

#[test]
fn key_and_epoch_are_those_of_the_header() {
    all_malformed(
        &sample(),
        &[
            r#"{"v":1,"type":"status","key":"KEY","epoch":2}"#,
            r#"{"v":1,"type":"status","key":"00000000000000000000000000000000","epoch":1}"#,
            r#"{"v":1,"type":"status","key":"","epoch":1}"#,
        ],
    );
}

#[test]
fn types_and_purposes_are_lower_case_words() {
    for word in [
        "Status", "STATUS", "state", "", "claim ", "refused", "offer",
    ] {
        let payload = format!(r#"{{"v":1,"type":"{word}","key":"KEY","epoch":1}}"#);
        all_malformed(&sample(), &[&payload]);
    }
}

#[test]
fn hex_is_lower_case_and_of_the_right_length() {
    for id in [
        "ABABABABABABABABABABABABABABABAB",
        "abab",
        "",
        "zz",
        "0xabababababababababababababababab",
        "ababababababababababababababababa",
    ] {
        let payload =
            format!(r#"{{"v":1,"type":"abandon","key":"KEY","epoch":1,"offer_id":"{id}"}}"#);
        all_malformed(&sample(), &[&payload]);
    }
}

#[test]
fn a_device_key_is_a_canonical_x25519_key_of_full_order() {
    let asked = |key: &str, participant: &str| {
        format!(
            r#"{{"v":1,"type":"rotate","key":"KEY","epoch":1,"participant":{participant},"device_key":"{key}"}}"#
        )
    };
    let good = hex::encode(crate::device_key::device_key(
        &crate::device_key::device_secret(),
    ));
    assert!(read(&sample(), &asked(&good, "1")).is_ok());
    for participant in ["0", "2", "3", "1.0", "256", "null"] {
        all_malformed(&sample(), &[&asked(&good, participant)]);
    }
    for low in LOW_ORDER {
        all_malformed(&sample(), &[&asked(low, "1")]);
    }
}

/// Every u of low order, and u's that are not below p (RFC 7748 §5 and §6.1).
pub(crate) const LOW_ORDER: [&str; 12] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
    "4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
    "0900000000000000000000000000000000000000000000000000000000000080",
    "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn cosign(sample: &Sample, change: impl FnOnce(&mut serde_json::Value)) -> crate::Result<Request> {
    let nonces = crate::round_two::commit(sample.share(1), 1, &mut rand_core::OsRng).unwrap();
    let own = nonces.commitment();
    let mut json = serde_json::json!({"v": 1, "type": "cosign", "key": "KEY", "epoch": 1,
        "purpose": "sign", "message": "aGVsbG8", "taproot_root": null, "commitments": [
            {"participant": 1, "hiding": hex::encode(&own.hiding), "binding": hex::encode(&own.binding)}]});
    change(&mut json);
    read(sample, &json.to_string())
}

#[test]
fn a_cosign_request_is_read_strictly() {
    let sample = sample();
    assert!(cosign(&sample, |_| ()).is_ok());
    for (pointer, values) in [
        (
            "/message",
            serde_json::json!([
                "aGVsbG8=",
                "aGVsbG9",
                "a GVsbG8",
                "aGVs\nbG8",
                "+/+/",
                "é",
                1,
                null
            ]),
        ),
        (
            "/taproot_root",
            serde_json::json!(["", "00", "0".repeat(64), 0, false]),
        ),
        (
            "/purpose",
            serde_json::json!(["Sign", "", "prove", null, 1]),
        ),
        (
            "/commitments",
            serde_json::json!([[], null, {}, "", [[1, "", ""]], [null]]),
        ),
        (
            "/commitments/0/participant",
            serde_json::json!([0, 2, 3, 65537, 1.0, "1", -1]),
        ),
        (
            "/commitments/0/hiding",
            serde_json::json!(["", "00", "0".repeat(64), "01".to_owned() + &"0".repeat(62)]),
        ),
        (
            "/commitments/0/binding",
            serde_json::json!(["", "00", "f".repeat(64)]),
        ),
    ] {
        for value in values.as_array().unwrap() {
            let refused = cosign(&sample, |json| {
                *json.pointer_mut(pointer).unwrap() = value.clone()
            });
            assert!(
                matches!(refused, Err(Error::Malformed(_))),
                "{pointer} {value}: {refused:?}"
            );
        }
    }
    let refused = cosign(&sample, |json| {
        json["commitments"][0]["hiding"] = json["commitments"][0]["hiding"]
            .as_str()
            .unwrap()
            .to_uppercase()
            .into();
    });
    assert!(matches!(refused, Err(Error::Malformed(_))));
}

#[test]
fn commitments_as_lists_repeated_or_with_other_fields_are_malformed() {
    let sample = sample();
    let twice = cosign(&sample, |json| {
        let own = json["commitments"][0].clone();
        json["commitments"].as_array_mut().unwrap().push(own);
    });
    let listed = cosign(&sample, |json| {
        let own = json["commitments"][0].clone();
        json["commitments"][0] =
            serde_json::json!([own["participant"], own["hiding"], own["binding"]]);
    });
    let wider = cosign(&sample, |json| json["commitments"][0]["extra"] = 1.into());

    for refused in [twice, listed, wider] {
        assert!(matches!(refused, Err(Error::Malformed(_))), "{refused:?}");
    }
}

#[test]
fn a_message_to_sign_has_at_most_a_mebibyte() {
    let sample = sample();
    let of = |len: usize| {
        let message = URL_SAFE_NO_PAD.encode(vec![0; len]);
        cosign(&sample, |json| json["message"] = message.into())
    };

    assert!(of(1 << 20).is_ok());
    assert!(matches!(of((1 << 20) + 1), Err(Error::Malformed(_))));
}

#[test]
fn a_signature_of_another_suite_s_length_is_malformed() {
    let sample = sample();
    for len in [0, 63, 65, 114] {
        let payload = format!(
            r#"{{"v":1,"type":"prove","key":"KEY","epoch":1,"offer_id":"{HEX_KEY}","signature":"{}"}}"#,
            "00".repeat(len)
        );
        all_malformed(&sample, &[&payload]);
    }
}

#[test]
fn a_taproot_root_is_null_empty_or_32_bytes_and_for_one_suite() {
    let tr = SuiteId::Secp256k1Tr;

    assert_eq!(taproot_from(None, tr), Ok(Taproot::Untweaked));
    assert_eq!(taproot_from(Some(""), tr), Ok(Taproot::KeyPath));
    assert_eq!(
        taproot_from(Some(&"07".repeat(32)), tr),
        Ok(Taproot::Root([7; 32]))
    );
    for bad in ["00", &"0G".repeat(32), &"AB".repeat(32), &"00".repeat(33)] {
        assert!(taproot_from(Some(bad), tr).is_err(), "{bad}");
    }
    for suite in SuiteId::ALL.into_iter().filter(|suite| *suite != tr) {
        assert!(taproot_from(Some(""), suite).is_err());
        assert_eq!(taproot_from(None, suite), Ok(Taproot::Untweaked));
    }
}

#[test]
fn messages_that_look_like_proofs_are_reserved() {
    assert!(is_reserved(b"\0\0\0\x11icehouse/v1/proof"));
    assert!(is_reserved(b"abcdicehouse/"));
    assert!(!is_reserved(b"icehouse/v1/proof"));
    assert!(!is_reserved(b"abcicehouse/"));
    assert!(!is_reserved(b"abcdicehouse"));
    assert!(!is_reserved(b"abc"));
}
