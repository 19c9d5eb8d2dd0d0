//! Dealing: a polynomial's values are the shares, its coefficients times G the commitments.

use std::fmt;

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::group::Group;
use crate::suite::{
    decode, decode_scalar, encode, encode_scalar, random_scalar, with_suite, zero, Elem, Scal,
    Suite, SuiteId,
};
use frost_core::Field;

/// The secret scalar of one participant.
#[derive(Clone)]
pub struct Share {
    suite: SuiteId,
    bytes: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({}, <redacted>)", self.suite.name())
    }
}

impl Share {
    /// Reads a scalar strictly.
    pub fn from_bytes(suite: SuiteId, bytes: &[u8]) -> Result<Self> {
        with_suite!(suite, C => { decode_scalar::<C>(bytes)?; });
        Ok(Self {
            suite,
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }

    pub(crate) fn of<C: Suite>(scalar: &Scal<C>) -> Self {
        Self {
            suite: C::SUITE,
            bytes: encode_scalar::<C>(scalar),
        }
    }

    pub(crate) fn scalar<C: Suite>(&self) -> Result<Scal<C>> {
        if self.suite != C::SUITE {
            return Err(Error::request("the share is of another suite"));
        }
        decode_scalar::<C>(&self.bytes)
    }

    /// The suite the scalar belongs to.
    #[must_use]
    pub fn suite(&self) -> SuiteId {
        self.suite
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// This share plus a difference.
    pub fn plus(&self, difference: &Self) -> Result<Self> {
        with_suite!(self.suite, C => {
            Ok(Self::of::<C>(&(self.scalar::<C>()? + difference.scalar::<C>()?)))
        })
    }

    /// Refuses a share that is not this participant's: `share · G` must be its verifying share.
    pub fn check(&self, group: &Group, participant: u16) -> Result<()> {
        check_shares(group, &[(participant, self)])
    }
}

/// Refuses shares that are not these participants'. The commitments are decoded once.
pub fn check_shares(group: &Group, shares: &[(u16, &Share)]) -> Result<()> {
    with_suite!(group.suite, C => {
        let commitments = decoded::<C>(group)?;
        for (participant, share) in shares {
            let own = C::base_mul(&share.scalar::<C>()?);
            if own != value_at::<C>(&commitments, group, *participant)? {
                return Err(Error::protocol(format!(
                    "the share of participant {participant} does not fit the commitments"
                )));
            }
        }
    });
    Ok(())
}

/// A dealt key: the commitments and every participant's share, in order.
pub struct Deal {
    /// `a_k · G`, threshold of them.
    pub commitments: Vec<Vec<u8>>,
    /// `f(1), f(2), …`.
    pub shares: Vec<Share>,
}

/// Deals a fresh key to `n` participants, any `threshold` of whom can sign.
pub fn deal<R: CryptoRngCore>(suite: SuiteId, threshold: u16, n: u16, rng: &mut R) -> Result<Deal> {
    let mut dealt = deal_many(suite, threshold, n, 1, rng)?;
    dealt
        .pop()
        .ok_or_else(|| Error::protocol("no key was dealt"))
}

/// Deals `count` keys of one shape.
pub fn deal_many<R: CryptoRngCore>(
    suite: SuiteId,
    threshold: u16,
    n: u16,
    count: usize,
    rng: &mut R,
) -> Result<Vec<Deal>> {
    check_numbers(threshold, n)?;
    with_suite!(suite, C => deal_in::<C, R>(threshold, n, count, rng))
}

pub(crate) fn check_numbers(threshold: u16, n: u16) -> Result<()> {
    if !(2..=255).contains(&n) || threshold < 2 || threshold > n {
        return Err(Error::request(format!(
            "threshold must be between 2 and the number of participants ({n}, at most 255), \
             not {threshold}"
        )));
    }
    Ok(())
}

fn deal_in<C: Suite, R: CryptoRngCore>(
    threshold: u16,
    n: u16,
    count: usize,
    rng: &mut R,
) -> Result<Vec<Deal>> {
    let polynomials = (0..count).map(|_| random_polynomial::<C, R>(threshold, n, rng));
    deals_of::<C>(&polynomials.collect::<Vec<_>>(), n)
}

fn random_polynomial<C: Suite, R: CryptoRngCore>(
    threshold: u16,
    n: u16,
    rng: &mut R,
) -> Zeroized<C> {
    loop {
        let coefficients: Zeroized<C> =
            Zeroized((0..threshold).map(|_| random_scalar::<C, R>(rng)).collect());
        // A zero share is as unlikely as guessing a key, and its verifying share would be refused.
        if (1..=n).all(|i| evaluate::<C>(&coefficients.0, i) != zero::<C>()) {
            return coefficients;
        }
    }
}

/// The keys of these polynomials. All commitments are encoded together, which is cheaper on some curves.
pub(crate) fn deals_of<C: Suite>(polynomials: &[Zeroized<C>], n: u16) -> Result<Vec<Deal>> {
    // Room for all of them at once: a vector that grew would leave copies of secrets behind.
    let count = polynomials.iter().map(|one| one.0.len()).sum();
    let mut all = Zeroized::<C>(Vec::with_capacity(count));
    for one in polynomials {
        all.0.extend_from_slice(&one.0);
    }
    let mut commitments = C::base_muls(&all.0)?.into_iter();
    Ok(polynomials
        .iter()
        .map(|coefficients| Deal {
            commitments: commitments.by_ref().take(coefficients.0.len()).collect(),
            shares: shares_of::<C>(&coefficients.0, n),
        })
        .collect())
}

fn shares_of<C: Suite>(coefficients: &[Scal<C>], n: u16) -> Vec<Share> {
    let shares = Zeroized::<C>((1..=n).map(|i| evaluate::<C>(coefficients, i)).collect());
    shares.0.iter().map(Share::of::<C>).collect()
}

/// Scalars overwritten when they go; the curve crates' own `Zeroize` is not common to all suites.
pub(crate) struct Zeroized<C: Suite>(pub(crate) Vec<Scal<C>>);

impl<C: Suite> Drop for Zeroized<C> {
    fn drop(&mut self) {
        for scalar in &mut self.0 {
            *scalar = zero::<C>();
        }
        std::hint::black_box(&self.0);
    }
}

/// `participant` as a scalar.
pub(crate) fn number<C: Suite>(participant: u16) -> Scal<C> {
    let one = <<C::Group as frost_core::Group>::Field as Field>::one();
    let mut sum = zero::<C>();
    for bit in (0..16 - participant.leading_zeros()).rev() {
        sum = sum + sum;
        if participant >> bit & 1 == 1 {
            sum = sum + one;
        }
    }
    sum
}

/// `f(participant)` by Horner's rule.
pub(crate) fn evaluate<C: Suite>(coefficients: &[Scal<C>], participant: u16) -> Scal<C> {
    let x = number::<C>(participant);
    coefficients
        .iter()
        .rev()
        .fold(zero::<C>(), |sum, a| sum * x + *a)
}

/// A participant's verifying share `Σ i^k · commitments[k]`, encoded.
pub fn verifying_share(group: &Group, participant: u16) -> Result<Vec<u8>> {
    with_suite!(group.suite, C => encode::<C>(&verifying_element::<C>(group, participant)?))
}

/// Every commitment is an element, and no participant's verifying share the identity; each is decoded once.
pub(crate) fn check_verifying_shares(group: &Group) -> Result<()> {
    with_suite!(group.suite, C => {
        let commitments = decoded::<C>(group)?;
        for number in 1..=u16::try_from(group.participants.len()).unwrap_or(u16::MAX) {
            encode::<C>(&value_at::<C>(&commitments, group, number)?)?;
        }
    });
    Ok(())
}

pub(crate) fn verifying_element<C: Suite>(group: &Group, participant: u16) -> Result<Elem<C>> {
    value_at::<C>(&decoded::<C>(group)?, group, participant)
}

fn decoded<C: Suite>(group: &Group) -> Result<Vec<Elem<C>>> {
    group
        .commitments
        .iter()
        .map(|one| decode::<C>(one))
        .collect()
}

/// `f(participant) · G`, by Horner's rule over the commitments.
fn value_at<C: Suite>(commitments: &[Elem<C>], group: &Group, participant: u16) -> Result<Elem<C>> {
    if participant == 0 || usize::from(participant) > group.participants.len() {
        return Err(Error::request(format!(
            "there is no participant {participant}"
        )));
    }
    let start = <C::Group as frost_core::Group>::identity();
    Ok(commitments.iter().rev().fold(start, |sum, commitment| {
        times_small::<C>(sum, participant) + *commitment
    }))
}

/// `n · element` by doubling and adding: for numbers below 256 far cheaper than a multiplication.
fn times_small<C: Suite>(element: Elem<C>, n: u16) -> Elem<C> {
    let mut sum = <C::Group as frost_core::Group>::identity();
    for bit in (0..16 - n.leading_zeros()).rev() {
        sum = sum + sum;
        if n >> bit & 1 == 1 {
            sum = sum + element;
        }
    }
    sum
}
