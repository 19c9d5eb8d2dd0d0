//! Which keys a module can serve, told by its list of mechanisms.

use super::*;
use crate::profile::{CLOUDHSM, GENERIC};

fn missing(listed: &[Named], profile: &Profile) -> [Vec<&'static str>; 3] {
    let numbers: Vec<_> = listed.iter().map(|(number, _)| *number).collect();
    let found = Missing::from(&numbers, profile);
    Kind::ALL.map(|kind| found.for_kind(kind).to_vec())
}

#[test]
fn each_mechanism_that_is_not_listed_is_named_for_the_keys_that_need_it() {
    assert_eq!(
        missing(&[AES_KEY, HMAC_KEY, HMAC, ECDSA], &GENERIC),
        [vec!["CKM_AES_GCM"], vec![], vec!["CKM_EC_KEY_PAIR_GEN"]]
    );
    assert_eq!(
        missing(&[GCM, EC_KEYS], &GENERIC),
        [
            vec!["CKM_AES_KEY_GEN"],
            vec!["CKM_GENERIC_SECRET_KEY_GEN", "CKM_SHA512_HMAC"],
            vec!["CKM_ECDSA"]
        ]
    );
}

#[test]
fn a_vendors_own_mechanism_need_not_be_listed() {
    let all = [AES_KEY, HMAC_KEY, HMAC, EC_KEYS, ECDSA];
    let none: [Vec<&str>; 3] = Default::default();
    assert_eq!(missing(&all, &CLOUDHSM), none);
    assert_eq!(
        missing(&all, &GENERIC),
        [vec!["CKM_AES_GCM"], vec![], vec![]]
    );
}

#[test]
fn a_missing_mechanism_is_refused_by_its_name_with_the_key_and_the_modules_remedy() {
    for (library, words) in [
        ("PKCS#11 Kit", "0.25"),
        ("IBM", "opencryptoki"),
        ("tpm2-software.github.io", "TPM"),
        ("Yubico", "doctor --hsm"),
    ] {
        let found = Missing::from(&[AES_KEY.0], &GENERIC);
        let Err(Error::Refused { text, hint }) = found.check(Kind::Aes, "kek", library) else {
            panic!("a key that the module cannot serve is refused");
        };
        assert_eq!(
            text,
            "the PKCS#11 module has no CKM_AES_GCM, which the key 'kek' needs"
        );
        assert!(hint.is_some_and(|hint| hint.contains(words)), "{library}");
    }
}
