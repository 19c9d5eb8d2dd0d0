//! RFC 9591 Appendix E, byte for byte, through our own dealing, committing, signing and aggregating.

use frost_core::keys::SigningShare;
use frost_core::round1::{Nonce, NonceCommitment, SigningCommitments};
use frost_core::{compute_binding_factor_list, SigningPackage, VerifyingKey};
use rand_core::{CryptoRng, Error as RngError, RngCore};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::commitment::Commitment;
use crate::group::Group;
use crate::polynomial::{deal, verifying_share, Share};
use crate::round_two::{commit, sign, Nonces, Request};
use crate::sign::{aggregate, verify, verify_public};
use crate::suite::{decode, encode, identifier, with_suite, Suite, SuiteId, Taproot};

const ED25519: &str = include_str!("../../../tests/vectors/frost-ed25519-sha512.json");
const P256: &str = include_str!("../../../tests/vectors/frost-p256-sha256.json");
const RISTRETTO255: &str = include_str!("../../../tests/vectors/frost-ristretto255-sha512.json");
const ED448: &str = include_str!("../../../tests/vectors/frost-ed448-shake256.json");
const SECP256K1: &str = include_str!("../../../tests/vectors/frost-secp256k1-sha256.json");

/// Gives out given bytes once, and nothing after them.
struct Given(Vec<u8>);

impl RngCore for Given {
    fn next_u32(&mut self) -> u32 {
        unreachable!("the core draws bytes, not numbers")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("the core draws bytes, not numbers")
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        let rest = self.0.split_off(dest.len());
        dest.copy_from_slice(&self.0);
        self.0 = rest;
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), RngError> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Given {}

struct Vector {
    suite: SuiteId,
    json: Value,
}

struct Signer {
    number: u16,
    facts: Value,
    share: String,
}

impl Vector {
    fn new(suite: SuiteId, text: &str) -> Self {
        let json = serde_json::from_str(text).unwrap();
        Self { suite, json }
    }

    fn all() -> [Self; 5] {
        [
            Self::new(SuiteId::Ed25519, ED25519),
            Self::new(SuiteId::Ed448, ED448),
            Self::new(SuiteId::Ristretto255, RISTRETTO255),
            Self::new(SuiteId::P256, P256),
            Self::new(SuiteId::Secp256k1, SECP256K1),
        ]
    }

    fn bytes(&self, pointer: &str) -> Vec<u8> {
        unhex(self.json.pointer(pointer).unwrap_or(&Value::Null))
    }

    fn shares(&self) -> Vec<Share> {
        self.json["inputs"]["participant_shares"]
            .as_array()
            .unwrap()
            .iter()
            .map(|share| {
                Share::from_bytes(self.suite, &unhex(&share["participant_share"])).unwrap()
            })
            .collect()
    }

    /// The randomness from which our dealer draws exactly the vector's coefficients.
    fn dealer(&self) -> Given {
        let coefficients = [
            "/inputs/group_secret_key",
            "/inputs/share_polynomial_coefficients/0",
        ];
        // The curve crates of the RFC's first three suites draw twice a scalar's bytes and reduce them.
        let wide = match self.suite {
            SuiteId::P256 | SuiteId::Secp256k1 => 0,
            other => other.scalar_len(),
        };
        let drawn = coefficients.map(|pointer| [self.bytes(pointer), vec![0; wide]].concat());
        Given(drawn.concat())
    }

    fn group(&self) -> Group {
        let names = ["one", "two", "three"].map(String::from).to_vec();
        let dealt = deal(self.suite, 2, 3, &mut self.dealer()).unwrap();
        Group::new(
            [0; 16],
            "one".into(),
            self.suite,
            0,
            2,
            names,
            1,
            dealt.commitments,
        )
        .unwrap()
    }

    fn signers(&self) -> Vec<Signer> {
        let first = self.json["round_one_outputs"]["outputs"]
            .as_array()
            .unwrap();
        let second = self.json["round_two_outputs"]["outputs"]
            .as_array()
            .unwrap();
        first
            .iter()
            .zip(second)
            .map(|(one, two)| Signer {
                number: u16::try_from(one["identifier"].as_u64().unwrap()).unwrap(),
                facts: one.clone(),
                share: two["sig_share"].as_str().unwrap().into(),
            })
            .collect()
    }

    fn nonces(&self, signer: &Signer) -> Nonces {
        let randomness = ["hiding_nonce_randomness", "binding_nonce_randomness"]
            .map(|name| unhex(&signer.facts[name]));
        let share = &self.shares()[usize::from(signer.number) - 1];
        commit(share, signer.number, &mut Given(randomness.concat())).unwrap()
    }

    fn commitments(&self) -> Vec<Commitment> {
        let signers = self.signers();
        signers
            .iter()
            .map(|signer| self.nonces(signer).commitment().clone())
            .collect()
    }
}

fn unhex(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("the vector has this field")).unwrap()
}

#[test]
fn the_dealer_makes_the_shares_and_the_key_of_the_vectors() {
    for vector in Vector::all() {
        let dealt = deal(vector.suite, 2, 3, &mut vector.dealer()).unwrap();

        let made: Vec<_> = dealt
            .shares
            .iter()
            .map(|share| share.expose().to_vec())
            .collect();
        let expected: Vec<_> = vector
            .shares()
            .iter()
            .map(|share| share.expose().to_vec())
            .collect();
        assert_eq!(made, expected);
        assert_eq!(
            dealt.commitments[0],
            vector.bytes("/inputs/group_public_key")
        );
    }
}

#[test]
fn the_shares_of_the_vectors_fit_their_commitments() {
    for vector in Vector::all() {
        let group = vector.group();

        for (number, share) in (1u16..).zip(vector.shares()) {
            share.check(&group, number).unwrap();
            let own = with_suite!(vector.suite, C => {
                encode::<C>(&C::base_mul(&share.scalar::<C>().unwrap())).unwrap()
            });
            assert_eq!(own, verifying_share(&group, number).unwrap());
        }
    }
}

#[test]
fn the_randomness_of_the_vectors_makes_their_nonces_and_commitments() {
    for vector in Vector::all() {
        for signer in vector.signers() {
            let made = vector.nonces(&signer).commitment().clone();

            assert_eq!(made.hiding, unhex(&signer.facts["hiding_nonce_commitment"]));
            assert_eq!(
                made.binding,
                unhex(&signer.facts["binding_nonce_commitment"])
            );
            for (name, commitment) in [
                ("hiding_nonce", made.hiding),
                ("binding_nonce", made.binding),
            ] {
                let nonce = unhex(&signer.facts[name]);
                let own = with_suite!(vector.suite, C => {
                    let nonce = Share::from_bytes(vector.suite, &nonce).unwrap();
                    encode::<C>(&C::base_mul(&nonce.scalar::<C>().unwrap())).unwrap()
                });
                assert_eq!(own, commitment, "{name}");
            }
        }
    }
}

#[test]
fn the_randomness_of_the_vectors_makes_their_nonces_in_frost_core_too() {
    for vector in Vector::all() {
        for signer in vector.signers() {
            let share = vector.shares()[usize::from(signer.number) - 1].clone();
            let mut rng = Given(unhex(&signer.facts["hiding_nonce_randomness"]));
            let nonce = with_suite!(vector.suite, C => {
                let signing = SigningShare::<C>::new(share.scalar::<C>().unwrap());
                Nonce::<C>::new(&signing, &mut rng).serialize()
            });

            assert_eq!(nonce, unhex(&signer.facts["hiding_nonce"]));
        }
    }
}

#[test]
fn our_commitments_give_the_binding_factors_of_the_vectors() {
    for vector in Vector::all() {
        let commitments = vector.commitments();
        let key = vector.group().commitments()[0].clone();
        let message = vector.bytes("/inputs/message");
        with_suite!(vector.suite, C => {
            let factors = binding_factors::<C>(&commitments, &key, &message);

            for (signer, factor) in vector.signers().iter().zip(factors) {
                assert_eq!(factor, unhex(&signer.facts["binding_factor"]));
            }
        });
    }
}

fn binding_factors<C: Suite>(
    commitments: &[Commitment],
    key: &[u8],
    message: &[u8],
) -> Vec<Vec<u8>> {
    let map: BTreeMap<_, _> = commitments
        .iter()
        .map(|c| {
            let pair = SigningCommitments::<C>::new(
                NonceCommitment::new(decode::<C>(&c.hiding).unwrap()),
                NonceCommitment::new(decode::<C>(&c.binding).unwrap()),
            );
            (identifier::<C>(c.participant).unwrap(), pair)
        })
        .collect();
    let package = SigningPackage::new(map, message);
    let key = VerifyingKey::<C>::new(decode::<C>(key).unwrap());
    let factors = compute_binding_factor_list(&package, &key, &[]).unwrap();
    commitments
        .iter()
        .map(|c| {
            factors
                .get(&identifier::<C>(c.participant).unwrap())
                .unwrap()
                .serialize()
        })
        .collect()
}

#[test]
fn the_signature_shares_and_the_signature_are_those_of_the_vectors() {
    for vector in Vector::all() {
        let (group, message) = (vector.group(), vector.bytes("/inputs/message"));
        let commitments = vector.commitments();
        let request = Request {
            message: &message,
            taproot: Taproot::Untweaked,
            commitments: &commitments,
        };

        let mut shares = Vec::new();
        for signer in vector.signers() {
            let own = &vector.shares()[usize::from(signer.number) - 1];
            let z = sign(vector.nonces(&signer), own, &group, &request).unwrap();
            assert_eq!(hex::encode(&z), signer.share);
            shares.push((signer.number, z));
        }
        let signature = aggregate(&group, &request, &shares).unwrap();
        assert_eq!(signature, vector.bytes("/final_output/sig"));
    }
}

#[test]
fn the_signatures_of_the_vectors_verify() {
    for vector in Vector::all() {
        let key = vector.bytes("/inputs/group_public_key");
        let message = vector.bytes("/inputs/message");
        let signature = vector.bytes("/final_output/sig");

        verify(&vector.group(), &message, Taproot::Untweaked, &signature).unwrap();
        verify_public(vector.suite, &key, &message, Taproot::Untweaked, &signature).unwrap();
        for at in 0..signature.len() {
            let mut bent = signature.clone();
            bent[at] ^= 1;
            verify_public(vector.suite, &key, &message, Taproot::Untweaked, &bent).unwrap_err();
        }
    }
}
