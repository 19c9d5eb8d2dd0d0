//! A signer's own half of RFC 9591: its nonces, and the signature share that consumes them.
//!
//! Hashes and curves are `frost-core`'s. This half is written here, so that nonces can be values that
//! a use consumes, multiples of the generator come from tables, and nothing is decoded or encoded
//! twice; tests hold it against `frost-core`, suite by suite. docs/explanation/round-two.md goes
//! through it line by line of the RFC.

use std::fmt;

use frost_core::keys::SigningShare;
use frost_core::round1::Nonce;
use frost_core::{Field, Group as _};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRngCore, OsRng, RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::commitment::{Commitment, Signer};
use crate::error::{Error, Result};
use crate::group::Group;
use crate::polynomial::{number, Share};
use crate::request::Cosign;
use crate::suite::{encode, encode_scalar, with_suite, zero, Elem, Scal, Suite, Taproot};

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

/// Refuses signers that are too few, out of order, twice there, or of no participant.
pub(crate) fn check_signers<'a>(
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

#[cfg(test)]
#[path = "round_two_tests.rs"]
mod tests;
