//! Rotation: a polynomial that is zero at zero, added to every share, moves no key.

use rand_core::CryptoRngCore;

use crate::error::{Error, Result};
use crate::group::Group;
use crate::polynomial::{evaluate, Share, Zeroized};
use crate::suite::{decode, encode, random_scalar, with_suite, zero, Suite};

/// What takes a key's shares from one epoch to another.
pub struct Rotation {
    /// The commitments of the new epoch; the first is unchanged.
    pub commitments: Vec<Vec<u8>>,
    /// What each participant adds to its share, in order.
    pub differences: Vec<Share>,
}

/// Draws a fresh difference for every participant of `group`.
pub fn rotate<R: CryptoRngCore>(group: &Group, rng: &mut R) -> Result<Rotation> {
    with_suite!(group.suite, C => rotate_in::<C, R>(group, rng))
}

fn rotate_in<C: Suite, R: CryptoRngCore>(group: &Group, rng: &mut R) -> Result<Rotation> {
    let mut coefficients = Zeroized::<C>(vec![zero::<C>()]);
    let mut commitments = vec![group.commitments[0].clone()];
    for old in &group.commitments[1..] {
        let coefficient = random_scalar::<C, R>(rng);
        commitments.push(encode::<C>(
            &(decode::<C>(old)? + C::base_mul(&coefficient)),
        )?);
        coefficients.0.push(coefficient);
    }
    let n = u16::try_from(group.participants.len())
        .map_err(|_| Error::request("a key has at most 255 participants"))?;
    let differences = (1..=n)
        .map(|i| Share::of::<C>(&evaluate::<C>(&coefficients.0, i)))
        .collect();
    Ok(Rotation {
        commitments,
        differences,
    })
}

impl Group {
    /// The same key at another epoch, with other commitments.
    pub fn at(&self, epoch: u64, commitments: Vec<Vec<u8>>) -> Result<Self> {
        Self::new(
            self.vault,
            self.user.clone(),
            self.suite,
            self.generation,
            self.threshold,
            self.participants.clone(),
            epoch,
            commitments,
        )
    }
}
