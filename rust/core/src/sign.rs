//! Two-round signing of RFC 9591. Nonces are consumed by the signature share they make.
//!
//! Hashes, curves and aggregation are `frost-core`'s. A signer's own half is written here, so that
//! nonces can be values that a use consumes, multiples of the generator come from tables, and
//! nothing is decoded or encoded twice; tests hold it against `frost-core`, suite by suite.

use std::collections::BTreeMap;
use std::fmt;

use frost_core::keys::{PublicKeyPackage, SigningShare, VerifyingShare};
use frost_core::round1::{Nonce, NonceCommitment, SigningCommitments};
use frost_core::round2::SignatureShare;
use frost_core::{
    aggregate_custom, CheaterDetection, Field, Group as _, Signature, SigningPackage, VerifyingKey,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRngCore, OsRng, RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::commitment::{Commitment, Signer};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::polynomial::{number, verifying_element, Share};
use crate::request::Cosign;
use crate::suite::{
    decode, decode_scalar, encode, encode_scalar, identifier, is_compressed, with_suite, zero,
    Elem, Scal, Suite, SuiteId, Taproot,
};

/// One signer's secret nonces. `sign` takes them by value: a second use does not compile.
pub struct Nonces {
    hiding: Share,
    binding: Share,
    signer: Signer,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Nonces(participant {}, <redacted>)",
            self.commitment().participant
        )
    }
}

impl Nonces {
    /// The public half.
    #[must_use]
    pub fn commitment(&self) -> &Commitment {
        self.signer.commitment()
    }

    /// The public half, ready for signing.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }
}

/// What is signed, and by whom.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The message.
    pub message: &'a [u8],
    /// The tweak to sign under.
    pub taproot: Taproot,
    /// Every signer's commitments, ordered by participant.
    pub commitments: &'a [Commitment],
}

/// Round one: fresh nonces by RFC 9591's `nonce_generate`, from the caller's random bytes.
pub fn commit<R: CryptoRngCore>(share: &Share, participant: u16, rng: &mut R) -> Result<Nonces> {
    with_suite!(share.suite(), C => {
        let signing = SigningShare::<C>::new(share.scalar::<C>()?);
        let hiding = Nonce::<C>::new(&signing, rng).to_scalar();
        let binding = Nonce::<C>::new(&signing, rng).to_scalar();
        let (d, e) = (C::base_mul(&hiding), C::base_mul(&binding));
        let commitment =
            Commitment { participant, hiding: encode::<C>(&d)?, binding: encode::<C>(&e)? };
        Ok(Nonces {
            hiding: Share::of::<C>(&hiding),
            binding: Share::of::<C>(&binding),
            signer: Signer::made(commitment, C::point(d), C::point(e)),
        })
    })
}

/// Round two: this signer's signature share. The nonces are gone afterwards.
pub fn sign(
    nonces: Nonces,
    share: &Share,
    group: &Group,
    request: &Request<'_>,
) -> Result<Vec<u8>> {
    let own = nonces.commitment();
    let mut signers = Vec::with_capacity(request.commitments.len());
    for commitment in request.commitments {
        signers.push(if commitment == own {
            nonces.signer.clone()
        } else {
            Signer::read(group.suite, commitment.clone())?
        });
    }
    sign_decoded(
        nonces,
        share,
        group,
        request.message,
        request.taproot,
        &signers,
    )
}

fn sign_decoded(
    nonces: Nonces,
    share: &Share,
    group: &Group,
    message: &[u8],
    taproot: Taproot,
    signers: &[Signer],
) -> Result<Vec<u8>> {
    check_signers(group, signers.iter().map(Signer::commitment))?;
    let own = signers
        .iter()
        .position(|signer| signer.commitment() == nonces.commitment())
        .ok_or_else(|| {
            Error::protocol("the signing package lacks this signer's own commitments")
        })?;
    with_suite!(group.suite, C => {
        let (secret, key) =
            C::signing_form(share.scalar::<C>()?, &group.commitments[0], taproot)?;
        let factors = binding_factors::<C>(&key, message, signers);
        let commitment = group_commitment::<C>(signers, &factors)?;
        let challenge = C::challenge_of(&encode::<C>(&commitment)?, &key, message);
        let lambda = lagrange::<C>(signers, signers[own].commitment().participant)?;

        let nonce = nonces.hiding.scalar::<C>()? + nonces.binding.scalar::<C>()? * factors[own];
        let nonce = if C::negates_nonces(&commitment) { zero::<C>() - nonce } else { nonce };
        let z: Scal<C> = nonce + lambda * secret * challenge;
        Ok(encode_scalar::<C>(&z).to_vec())
    })
}

/// `compute_binding_factors` of RFC 9591, from the encodings at hand; in the signers' order.
pub(crate) fn binding_factors<C: Suite>(
    key: &[u8],
    message: &[u8],
    signers: &[Signer],
) -> Vec<Scal<C>> {
    let id = |signer: &Signer| {
        <<C::Group as frost_core::Group>::Field as Field>::serialize(&number::<C>(
            signer.commitment().participant,
        ))
    };
    let mut list = Vec::new();
    for signer in signers {
        list.extend_from_slice(id(signer).as_ref());
        list.extend_from_slice(&signer.commitment().hiding);
        list.extend_from_slice(&signer.commitment().binding);
    }
    let prefix = [key, C::H4(message).as_ref(), C::H5(&list).as_ref()].concat();
    signers
        .iter()
        .map(|signer| C::H1(&[&prefix, id(signer).as_ref()].concat()))
        .collect()
}

/// `Σ D_i + ρ_i · E_i`.
pub(crate) fn group_commitment<C: Suite>(
    signers: &[Signer],
    factors: &[Scal<C>],
) -> Result<Elem<C>> {
    let mut hiding = C::Group::identity();
    let mut terms = Vec::with_capacity(signers.len());
    for (signer, factor) in signers.iter().zip(factors) {
        hiding = hiding + C::element(signer.hiding())?;
        terms.push((*factor, C::element(signer.binding())?));
    }
    Ok(hiding + C::public_sum(&terms))
}

/// The Lagrange coefficient at zero of `own` among the signers.
pub(crate) fn lagrange<C: Suite>(signers: &[Signer], own: u16) -> Result<Scal<C>> {
    let one = number::<C>(1);
    let (mut above, mut below) = (one, one);
    for signer in signers {
        let other = signer.commitment().participant;
        if other != own {
            above = above * number::<C>(other);
            below = below * (number::<C>(other) - number::<C>(own));
        }
    }
    // Participants 1 and 2 alone, as in every 2-of-2, need no inversion.
    if below == one || below == zero::<C>() - one {
        return Ok(above * below);
    }
    let inverse = <<C::Group as frost_core::Group>::Field as Field>::invert(&below)
        .map_err(|_| Error::protocol("a participant signs twice"))?;
    Ok(above * inverse)
}

/// The cosigner's whole half in one step: it answers last, so both rounds meet here.
///
/// The nonces are hedged: their randomness comes from `SHA-256(32 fresh OS bytes ‖ message)`, so
/// that even a cloned or rewound machine answers two different messages with different nonces.
pub fn cosign(
    share: &Share,
    group: &Group,
    participant: u16,
    asked: &Cosign,
    message: &[u8],
) -> Result<(Commitment, Vec<u8>)> {
    let nonces = commit(share, participant, &mut hedged(message))?;
    let own = nonces.commitment().clone();
    let mut signers = asked.signers.clone();
    signers.push(nonces.signer.clone());
    let z = sign_decoded(
        nonces,
        share,
        group,
        &asked.message,
        asked.taproot,
        &signers,
    )?;
    Ok((own, z))
}

/// A generator seeded with fresh operating-system bytes and the request.
fn hedged(request: &[u8]) -> ChaCha20Rng {
    let mut fresh = Zeroizing::new([0u8; 32]);
    OsRng.fill_bytes(fresh.as_mut());
    let seed = Sha256::new()
        .chain_update(*fresh)
        .chain_update(request)
        .finalize();
    ChaCha20Rng::from_seed(seed.into())
}

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

fn check_signers<'a>(
    group: &Group,
    commitments: impl ExactSizeIterator<Item = &'a Commitment>,
) -> Result<()> {
    if commitments.len() < usize::from(group.threshold) {
        return Err(Error::protocol(format!(
            "{} signers are too few for threshold {}",
            commitments.len(),
            group.threshold
        )));
    }
    let mut previous = 0;
    for commitment in commitments {
        if commitment.participant <= previous
            || usize::from(commitment.participant) > group.participants.len()
        {
            return Err(Error::malformed(
                "commitments must be ordered by participant, each once",
            ));
        }
        previous = commitment.participant;
    }
    Ok(())
}

fn package<C: Suite>(group: &Group, request: &Request<'_>) -> Result<SigningPackage<C>> {
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

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
