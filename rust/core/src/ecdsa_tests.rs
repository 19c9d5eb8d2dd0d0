//! ECDSA's bytes and verification, against keys that sign by the same crate and forms that nobody should write.

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::SigningKey;
use rand_core::OsRng;

use super::*;

const DIGEST: [u8; 32] = [7; 32];

fn signed() -> (VerifyingKey, Signature) {
    let key = SigningKey::random(&mut OsRng);
    let signature = key.sign_prehash(&DIGEST).unwrap();
    (*key.verifying_key(), signature)
}

fn point(key: &VerifyingKey) -> Vec<u8> {
    key.to_encoded_point(false).as_bytes().to_vec()
}

#[test]
fn a_signature_verifies_with_either_sign_of_s() {
    let (key, signature) = signed();
    let (r, s) = signature.split_scalars();
    let other = Signature::from_scalars(r, -*s).unwrap();

    verify(&point(&key), &DIGEST, &signature.to_bytes()).unwrap();
    verify(&point(&key), &DIGEST, &other.to_bytes()).unwrap();
}

#[test]
fn a_bent_key_digest_or_signature_does_not_verify() {
    let (key, signature) = signed();
    let (point, signature) = (point(&key), signature.to_bytes().to_vec());
    let bent = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };

    for at in 0..POINT_LEN {
        verify(&bent(&point, at), &DIGEST, &signature).unwrap_err();
    }
    for at in 0..DIGEST_LEN {
        verify(&point, &bent(&DIGEST, at), &signature).unwrap_err();
    }
    for at in 0..SIGNATURE_LEN {
        verify(&point, &DIGEST, &bent(&signature, at)).unwrap_err();
    }
}

#[test]
fn zero_and_the_order_are_no_half_of_a_signature() {
    let (key, signature) = signed();
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let order = order.unwrap();
    for scalar in [&[0; 32][..], &order] {
        for place in [0, 32] {
            let mut bytes = signature.to_bytes().to_vec();
            bytes[place..place + 32].copy_from_slice(scalar);

            verify(&point(&key), &DIGEST, &bytes).unwrap_err();
        }
    }
}

#[test]
fn other_lengths_are_refused() {
    let (key, signature) = signed();
    let (own, signature) = (point(&key), signature.to_bytes().to_vec());

    verify(key.to_encoded_point(true).as_bytes(), &DIGEST, &signature).unwrap_err();
    verify(&own, &[7; 48], &signature).unwrap_err();
    verify(&own, &[], &signature).unwrap_err();
    verify(&own, &DIGEST, &signature[..63]).unwrap_err();
    verify(&[], &DIGEST, &signature).unwrap_err();
}

#[test]
fn der_and_its_raw_form_are_one_signature() {
    for _ in 0..64 {
        let (_, signature) = signed();

        let raw = raw_signature(signature.to_der().as_bytes()).unwrap();

        assert_eq!(raw[..], signature.to_bytes()[..]);
    }
}

#[test]
fn the_point_of_a_public_key_is_read_from_its_only_form() {
    let (key, _) = signed();
    let public = PublicKey::from(key);
    let der = public.to_public_key_der().unwrap().into_vec();

    assert_eq!(point_of(&der).unwrap()[..], point(&key)[..]);
    for at in 0..der.len() {
        let mut bent = der.clone();
        bent[at] ^= 1;
        point_of(&bent).unwrap_err();
    }
    point_of(&der[..der.len() - 1]).unwrap_err();
    point_of(&[&der[..], &[0]].concat()).unwrap_err();
}
