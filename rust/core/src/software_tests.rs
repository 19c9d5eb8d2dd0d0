//! What a software token promises.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::VerifyingKey;

use super::*;

const WORK: u8 = 2;

fn token_with(label: &str, kind: Kind) -> SoftwareToken {
    let mut token = SoftwareToken::new();
    token.create(label, kind).unwrap();
    token
}

fn pin(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

/// A file with chosen JSON inside, as only a test needs it.
fn file_of(json: &str) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(passphrase(&pin("1234")));
    recipient.set_work_factor(WORK);
    age::encrypt(&recipient, json.as_bytes()).unwrap()
}

#[test]
fn a_wrapped_key_opens_in_its_context_only() {
    let key = token_with("kek-1", Kind::Aes).key("kek-1").unwrap();
    let secret = DataKey::random();

    let wrapped = key.wrap(&secret, &[7; 32]).unwrap();

    assert_eq!(wrapped.len(), WRAPPED_LEN);
    assert!(key.unwrap(&wrapped, &[7; 32]).unwrap().same_as(&secret));
    assert_eq!(
        key.unwrap(&wrapped, &[8; 32]).unwrap_err(),
        Error::Seal("kek-1".into())
    );
}

#[test]
fn every_bent_bit_and_every_cut_is_noticed() {
    let key = token_with("kek-1", Kind::Aes).key("kek-1").unwrap();
    let wrapped = key.wrap(&DataKey::random(), &[7; 32]).unwrap();

    for at in 0..wrapped.len() * 8 {
        let mut bent = wrapped.clone();
        bent[at / 8] ^= 1 << (at % 8);
        assert!(key.unwrap(&bent, &[7; 32]).is_err(), "bit {at}");
    }
    for length in 0..wrapped.len() {
        assert!(
            key.unwrap(&wrapped[..length], &[7; 32]).is_err(),
            "length {length}"
        );
    }
}

#[test]
fn a_file_brings_the_same_keys_back() {
    let mut token = token_with("kek-1", Kind::Aes);
    token.create("master-1", Kind::Hmac).unwrap();
    token.create("audit-1", Kind::Ecdsa).unwrap();

    let file = token.to_file(&pin("1234"), WORK).unwrap();
    let again = SoftwareToken::from_file(&file, &pin("1234")).unwrap();

    assert_eq!(again.labels(""), token.labels(""));
    let (old, new) = (
        token.key("master-1").unwrap(),
        again.key("master-1").unwrap(),
    );
    assert!(old
        .mac(b"m/0'")
        .unwrap()
        .same_as(&new.mac(b"m/0'").unwrap()));
    let public =
        VerifyingKey::from_sec1_bytes(&token.key("audit-1").unwrap().public_key().unwrap());
    let signature = again.key("audit-1").unwrap().sign(&[3; 32]).unwrap();
    public
        .unwrap()
        .verify_prehash(&[3; 32], &Signature::from_slice(&signature).unwrap())
        .unwrap();
}

#[test]
fn a_file_does_not_open_under_another_pin() {
    let file = token_with("kek-1", Kind::Aes)
        .to_file(&pin("1234"), WORK)
        .unwrap();

    let refused = SoftwareToken::from_file(&file, &pin("4321")).unwrap_err();

    assert_eq!(refused, Error::WrongPin);
}

#[test]
fn a_file_is_read_strictly_and_its_errors_quote_nothing() {
    let short = r#"{"version":1,"keys":[{"label":"kek-1","kind":"aes","secret":"c2VjcmV0"}]}"#;
    let cases = [
        r#"{"version":2,"keys":[]}"#,
        r#"{"version":1,"keys":[],"more":1}"#,
        r#"{"version":1,"keys":[]} "c2VjcmV0""#,
        r#"{"version":1,"keys":"c2VjcmV0"}"#,
        short,
    ];

    for json in cases {
        let refused = SoftwareToken::from_file(&file_of(json), &pin("1234")).unwrap_err();
        assert!(matches!(refused, Error::Malformed(_)), "{json}");
        assert!(!refused.to_string().contains("c2VjcmV0"), "{refused}");
    }
}

#[test]
fn a_key_serves_its_own_kind_only() {
    let key = token_with("master-1", Kind::Hmac).key("master-1").unwrap();

    let refused = key.wrap(&DataKey::random(), &[7; 32]).unwrap_err();

    assert_eq!(
        refused,
        Error::WrongKind {
            label: "master-1".into(),
            is: Kind::Hmac,
            needed: Kind::Aes
        }
    );
}

#[test]
fn labels_are_listed_by_prefix_and_gone_when_destroyed() {
    let mut token = token_with("kek-1", Kind::Aes);
    token.create("kek-2", Kind::Aes).unwrap();
    token.create("master-1", Kind::Hmac).unwrap();

    token.destroy("kek-1", Kind::Aes).unwrap();

    assert_eq!(token.labels("kek-"), [("kek-2".to_owned(), Kind::Aes)]);
    assert_eq!(
        token.key("kek-1").err(),
        Some(Error::NoSuchKey("kek-1".into()))
    );
    assert_eq!(
        token.create("kek-2", Kind::Aes),
        Err(Error::KeyExists("kek-2".into()))
    );
}
