//! Messages are read in one spelling only, and only with the right key.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, Mac};
use proptest::prelude::*;
use sha2::Sha256;

use crate::answer::{authenticate, bare_refusal, refusal, Answer};
use crate::error::Error;
use crate::kid::Kid;
use crate::message::{compact, Envelope};
use crate::request::{read_request, write_request, Cosign, Request};
use crate::sample::{mac_key, Sample};
use crate::suite::{SuiteId, Taproot};

const KEY: [u8; 16] = [0xab; 16];
pub(crate) const HEX_KEY: &str = "abababababababababababababababab";

fn kid(epoch: u64) -> Kid {
    Kid { key: KEY, epoch }
}

fn signed(header: &str, payload: &str) -> String {
    let signed = format!("{header}.{payload}");
    let mut mac = Hmac::<Sha256>::new_from_slice(&[1; 32]).unwrap();
    mac.update(signed.as_bytes());
    let mac = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{mac}")
}

/// A message with this header, authenticated under `mac_key(1)`.
fn headed(header: &str) -> String {
    signed(
        &URL_SAFE_NO_PAD.encode(header),
        &URL_SAFE_NO_PAD.encode("{}"),
    )
}

fn with_kid(kid: &str) -> String {
    headed(&format!(
        r#"{{"alg":"HS256","kid":"{kid}","typ":"icehouse"}}"#
    ))
}

pub(crate) fn sample() -> Sample {
    Sample::deal(SuiteId::Ed25519, 2, 2)
}

/// A payload as `read_request` reads it, at epoch 1 of the sample's key.
pub(crate) fn read(sample: &Sample, json: &str) -> crate::Result<Request> {
    let kid = Kid {
        key: sample.group.key_id(),
        epoch: 1,
    };
    let key = hex::encode(kid.key);
    read_request(json.replace("KEY", &key).as_bytes(), &kid, &sample.group)
}

#[test]
fn a_key_id_and_an_epoch_have_one_spelling() {
    assert_eq!(
        Envelope::parse(&with_kid(&format!("{HEX_KEY}.1")))
            .unwrap()
            .kid,
        kid(1)
    );
    for other in [
        "01",
        "+1",
        "-1",
        "1.0",
        "1e0",
        "1 ",
        " 1",
        "",
        "0x1",
        "１",
        "١",
        "²",
        "1_0",
        "9007199254740992",
        "18446744073709551616",
        "null",
    ] {
        let message = with_kid(&format!("{HEX_KEY}.{other}"));
        assert!(Envelope::parse(&message).is_err(), "{other}");
    }
    let upper = HEX_KEY.to_uppercase();
    for other in [
        format!("{upper}.1"),
        format!("{}.1", &HEX_KEY[1..]),
        format!("{HEX_KEY}0.1"),
        format!("{HEX_KEY}00.1"),
        HEX_KEY.to_owned(),
        format!("{HEX_KEY}.1.1"),
        String::from(".1"),
    ] {
        assert!(Envelope::parse(&with_kid(&other)).is_err(), "{other}");
    }
}

#[test]
fn the_highest_epoch_is_below_2_to_the_53() {
    let message = with_kid(&format!("{HEX_KEY}.9007199254740991"));

    assert_eq!(Envelope::parse(&message).unwrap().kid.epoch, (1 << 53) - 1);
}

#[test]
fn a_header_is_compared_as_bytes() {
    let kid = format!("{HEX_KEY}.1");
    for header in [
        format!(r#"{{"kid":"{kid}","alg":"HS256","typ":"icehouse"}}"#),
        format!(r#"{{"alg":"HS256","typ":"icehouse","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"HS256", "kid":"{kid}","typ":"icehouse"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"icehouse"}} "#),
        format!("{{\"alg\":\"HS256\",\"kid\":\"{kid}\",\"typ\":\"icehouse\"}}\n"),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"icehouse","typ":"icehouse"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"icehouse","crit":[]}}"#),
        format!(r#"{{"alg":"none","kid":"{kid}","typ":"icehouse"}}"#),
        format!(r#"{{"alg":"HS512","kid":"{kid}","typ":"icehouse"}}"#),
        format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"JWT"}}"#),
        format!(
            r#"{{"alg":"HS256","kid":"\u0061{}","typ":"icehouse"}}"#,
            &kid[1..]
        ),
        format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#),
        String::new(),
    ] {
        assert!(Envelope::parse(&headed(&header)).is_err(), "{header}");
    }
    assert!(Envelope::parse(&signed(&URL_SAFE_NO_PAD.encode([0xff, 0xfe]), "e30")).is_err());
}

#[test]
fn a_message_has_three_parts_of_strict_base64() {
    let good = compact(&kid(1), b"{}", &mac_key(1));
    let parts: Vec<&str> = good.split('.').collect();
    Envelope::parse(&good)
        .unwrap()
        .payload(&mac_key(1))
        .unwrap();
    for bad in [
        String::new(),
        parts[..2].join("."),
        format!("{good}."),
        format!("{good}.e30"),
        format!("{good}="),
        format!("{good}\n"),
        format!(" {good}"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}=.{}", parts[0], parts[1], parts[2]),
        signed(parts[0], "e31="),
        signed(parts[0], "e3"),
        signed(parts[0], "e31"),
        signed(parts[0], "!!!"),
        signed(parts[0], "e+/0"),
        signed(parts[0], "e"),
    ] {
        assert!(Envelope::parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn spare_bits_in_a_mac_are_refused() {
    let good = compact(&kid(1), b"{}", &mac_key(1));
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (body, last) = good.split_at(good.len() - 1);
    let accepted = alphabet
        .chars()
        .filter(|c| Envelope::parse(&format!("{body}{c}")).is_ok())
        .count();

    // 32 bytes leave two spare bits in the last of 43 digits: one digit in four has none set.
    assert_eq!(accepted, 16);
    assert!(alphabet.contains(last));
}

#[test]
fn a_mac_of_another_key_message_or_length_is_refused() {
    let good = compact(&kid(1), b"{}", &mac_key(1));
    let other_payload = compact(&kid(1), b"{ }", &mac_key(1));
    let other_epoch = compact(&kid(2), b"{}", &mac_key(1));
    let mac = good.rsplit('.').next().unwrap();
    let under = |message: &str| Envelope::parse(message).unwrap().payload(&mac_key(1));

    assert_eq!(
        Envelope::parse(&good).unwrap().payload(&mac_key(2)),
        Err(Error::BadMac)
    );
    for message in [other_payload, other_epoch] {
        let grafted = format!("{}.{mac}", message.rsplit_once('.').unwrap().0);
        assert_eq!(under(&grafted), Err(Error::BadMac));
    }
    let body = good.rsplit_once('.').unwrap().0;
    let short = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(mac).unwrap()[..16]);
    assert_eq!(under(&format!("{body}.{short}")), Err(Error::BadMac));
    assert_eq!(under(&format!("{body}.")), Err(Error::BadMac));
}

#[test]
fn a_message_of_two_mebibytes_is_not_even_parsed() {
    let long = compact(&kid(1), &vec![b' '; 2 << 20], &mac_key(1));

    assert!(Envelope::parse(&long).is_err());
}

#[test]
fn an_answer_for_another_key_or_epoch_is_refused() {
    let answer = Answer::Committed { offer_id: [1; 16] };
    let text = |kid: &Kid| compact(kid, &answer.write(kid), &mac_key(1));
    let other = Kid {
        key: [0; 16],
        epoch: 1,
    };

    authenticate(&text(&kid(1)), &kid(1), &mac_key(1)).unwrap();
    for wrong in [text(&kid(2)), text(&other)] {
        assert!(authenticate(&wrong, &kid(1), &mac_key(1)).is_err());
    }
    assert!(authenticate(&text(&kid(1)), &kid(1), &mac_key(2)).is_err());
    assert!(Answer::read(&answer.write(&kid(2)), &kid(1)).is_err());
}

#[test]
fn a_bare_refusal_says_that_it_proves_nothing() {
    let bare = authenticate(&bare_refusal("unknown-key"), &kid(1), &mac_key(1));
    let sealed = Answer::read(&refusal(&kid(1), "conflict"), &kid(1));

    let refused = |reason: &str, authenticated| Error::Refused {
        reason: reason.into(),
        authenticated,
    };
    assert_eq!(bare, Err(refused("unknown-key", false)));
    assert_eq!(sealed, Err(refused("conflict", true)));
}

#[test]
fn a_bare_answer_is_a_refusal_of_three_fields_and_nothing_else() {
    for bare in [
        r#"{"v":1,"type":"committed","reason":"x"}"#,
        r#"{"v":2,"type":"refused","reason":"x"}"#,
        r#"{"v":1,"type":"refused"}"#,
        r#"{"v":1,"type":"refused","reason":"x","epoch":1}"#,
        r#"{"v":1,"type":"refused","reason":"x","reason":"y"}"#,
        "{}",
    ] {
        let read = authenticate(bare, &kid(1), &mac_key(1));
        assert!(
            matches!(read, Err(Error::Protocol { .. })),
            "{bare}: {read:?}"
        );
    }
}

#[test]
fn a_device_s_own_message_is_no_answer_to_it() {
    let request = write_request(&Request::Status, &kid(1));
    let reflected = compact(&kid(1), &request, &mac_key(1));

    let payload = authenticate(&reflected, &kid(1), &mac_key(1)).unwrap();
    assert!(Answer::read(&payload, &kid(1)).is_err());
}

fn any_request(sample: &Sample) -> impl Strategy<Value = Request> {
    let nonces = crate::round_two::commit(sample.share(1), 1, &mut rand_core::OsRng).unwrap();
    let own = nonces.signer().clone();
    let id = any::<[u8; 16]>();
    prop_oneof![
        Just(Request::Status),
        id.prop_map(|offer_id| Request::Abandon { offer_id }),
        (any::<[u8; 16]>(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(offer_id, r, z)| {
            Request::Prove {
                offer_id,
                signature: [r, z].concat(),
            }
        }),
        Just(()).prop_map(|()| Request::Rotate {
            device_key: crate::device_key::device_key(&crate::device_key::device_secret())
        }),
        (any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(
            move |(proof, message)| {
                Request::Cosign(Cosign {
                    proof,
                    message,
                    taproot: Taproot::Untweaked,
                    signers: vec![own.clone()],
                })
            }
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_request_survives_its_journey(request in any_request(&sample()), epoch in 0..1u64 << 53) {
        let sample = sample();
        let kid = Kid { key: sample.group.key_id(), epoch };
        let text = compact(&kid, &write_request(&request, &kid), &mac_key(1));
        let envelope = Envelope::parse(&text).unwrap();
        let payload = envelope.payload(&mac_key(1)).unwrap();
        let read = read_request(&payload, &kid, &sample.group).unwrap();

        prop_assert_eq!(envelope.kid, kid);
        prop_assert_eq!(write_request(&read, &kid), write_request(&request, &kid));
    }

    #[test]
    fn any_other_bytes_are_refused_and_nothing_panics(text in "\\PC{0,80}", json in "\\{\\PC{0,60}\\}") {
        prop_assert!(Envelope::parse(&text).is_err());
        prop_assert!(read(&sample(), &json).is_err());
        prop_assert!(authenticate(&json, &kid(1), &mac_key(1)).is_err());
    }

    #[test]
    fn a_bent_character_is_noticed(at in any::<prop::sample::Index>(), other in "[A-Za-z0-9._-]") {
        let text = compact(&kid(1), &write_request(&Request::Status, &kid(1)), &mac_key(1));
        let at = at.index(text.len());
        let mut bent = text.clone();
        bent.replace_range(at..=at, &other);
        prop_assume!(bent != text);

        let read = Envelope::parse(&bent).and_then(|envelope| envelope.payload(&mac_key(1)));
        prop_assert!(read.is_err());
    }
}
