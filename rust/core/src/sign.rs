//! The signature that signature shares add up to, and its verification; both are `frost-core`'s.

use std::collections::BTreeMap;

use frost_core::keys::{PublicKeyPackage, VerifyingShare};
use frost_core::round1::{NonceCommitment, SigningCommitments};
use frost_core::round2::SignatureShare;
use frost_core::{aggregate_custom, CheaterDetection, Signature, SigningPackage, VerifyingKey};

use crate::error::{Error, Result};
use crate::group::Group;
use crate::polynomial::verifying_element;
use crate::round_two::{check_signers, Request};
use crate::suite::{
    decode, decode_scalar, identifier, is_compressed, with_suite, Elem, Suite, SuiteId, Taproot,
};

/// Adds the shares up to a signature that verifies, or names *all* participants to blame.
pub fn aggregate(
    group: &Group,
    request: &Request<'_>,
    shares: &[(u16, Vec<u8>)],
) -> Result<Vec<u8>> {
    with_suite!(group.suite, C => aggregate_in::<C>(group, request, shares))
}

fn aggregate_in<C: Suite>(
    group: &Group,
    request: &Request<'_>,
    shares: &[(u16, Vec<u8>)],
) -> Result<Vec<u8>> {
    let package = package::<C>(group, request)?;
    let mut signature_shares = BTreeMap::new();
    for (participant, bytes) in shares {
        decode_scalar::<C>(bytes).map_err(|_| blame(&[*participant]))?;
        let share = SignatureShare::<C>::deserialize(bytes).map_err(|_| blame(&[*participant]))?;
        if signature_shares
            .insert(identifier::<C>(*participant)?, share)
            .is_some()
        {
            return Err(Error::protocol(format!(
                "participant {participant} signed twice"
            )));
        }
    }
    let mut verifying = BTreeMap::new();
    for commitment in request.commitments {
        let element = verifying_element::<C>(group, commitment.participant)?;
        verifying.insert(
            identifier::<C>(commitment.participant)?,
            VerifyingShare::new(element),
        );
    }
    let key = VerifyingKey::<C>::new(decode::<C>(&group.commitments[0])?);
    let public = PublicKeyPackage::new(verifying, key, Some(group.threshold));
    let public = C::public_form(public, request.taproot)?;
    aggregate_custom(
        &package,
        &signature_shares,
        &public,
        CheaterDetection::AllCheaters,
    )
    .and_then(|signature| signature.serialize())
    .map_err(|error| culprits::<C>(&error, group))
}

fn blame(culprits: &[u16]) -> Error {
    let names: Vec<String> = culprits.iter().map(ToString::to_string).collect();
    Error::Protocol {
        what: format!(
            "the signature share of participant {} does not verify",
            names.join(", ")
        ),
        culprits: culprits.to_vec(),
    }
}

fn culprits<C: Suite>(error: &frost_core::Error<C>, group: &Group) -> Error {
    let named = error.culprits();
    let n = u16::try_from(group.participants.len()).unwrap_or(u16::MAX);
    let numbers: Vec<u16> = (1..=n)
        .filter(|i| identifier::<C>(*i).is_ok_and(|id| named.contains(&id)))
        .collect();
    if numbers.is_empty() {
        return Error::protocol(format!("the signature cannot be made: {error}"));
    }
    blame(&numbers)
}

/// Verifies strictly: canonical encodings, prime-order group, the (tweaked) public key.
pub fn verify(group: &Group, message: &[u8], taproot: Taproot, signature: &[u8]) -> Result<()> {
    with_suite!(group.suite, C => {
        verify_with::<C>(decode::<C>(&group.commitments[0])?, message, taproot, signature)
    })
}

/// Verifies under a bare public key, as an outsider does.
pub fn verify_public(
    suite: SuiteId,
    public_key: &[u8],
    message: &[u8],
    taproot: Taproot,
    signature: &[u8],
) -> Result<()> {
    let full: Vec<u8> = if suite == SuiteId::Secp256k1Tr {
        [&[2u8][..], public_key].concat()
    } else {
        public_key.to_vec()
    };
    with_suite!(suite, C => verify_with::<C>(decode::<C>(&full)?, message, taproot, signature))
}

fn verify_with<C: Suite>(
    key: Elem<C>,
    message: &[u8],
    taproot: Taproot,
    signature: &[u8],
) -> Result<()> {
    if signature.len() != C::SUITE.signature_len() {
        return Err(Error::malformed(format!(
            "a {} signature has {} bytes, not {}",
            C::SUITE.name(),
            C::SUITE.signature_len(),
            signature.len()
        )));
    }
    let public = PublicKeyPackage::<C>::new(BTreeMap::new(), VerifyingKey::new(key), None);
    let public = C::public_form(public, taproot)?;
    let refusal = || Error::protocol("the signature does not verify under the public key");
    // BIP-340's R is x alone; every other signature starts with an encoded element.
    if C::SUITE != SuiteId::Secp256k1Tr && !is_compressed(C::SUITE, signature) {
        return Err(refusal());
    }
    let parsed = Signature::<C>::deserialize(signature).map_err(|_| refusal())?;
    public
        .verifying_key()
        .verify(message, &parsed)
        .map_err(|_| refusal())
}

pub(crate) fn package<C: Suite>(group: &Group, request: &Request<'_>) -> Result<SigningPackage<C>> {
    check_signers(group, request.commitments.iter())?;
    let mut commitments = BTreeMap::new();
    for commitment in request.commitments {
        let parsed = SigningCommitments::new(
            NonceCommitment::new(decode::<C>(&commitment.hiding)?),
            NonceCommitment::new(decode::<C>(&commitment.binding)?),
        );
        commitments.insert(identifier::<C>(commitment.participant)?, parsed);
    }
    Ok(SigningPackage::new(commitments, request.message))
}
