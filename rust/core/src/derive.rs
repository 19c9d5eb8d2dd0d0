//! Hierarchical derivation: shares that follow from an HSM's node, a path and an epoch.
//!
//! A node is an HMAC that only the HSM can make. Everything else is derived from it here, so that a database of
//! public facts and epochs is all a vault has to keep.

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::polynomial::{check_numbers, deals_of, evaluate, Deal, Share, Zeroized};
use crate::secret::{MacKey, Node};
use crate::suite::{decode_scalar, with_suite, zero, Scal, Suite, SuiteId};

const ROW_MAC_LEN: usize = 16;

/// Which polynomial of a user's key is meant.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    /// The user.
    pub user: &'a str,
    /// The ciphersuite.
    pub suite: SuiteId,
    /// The key's generation.
    pub generation: u64,
    /// How many participants sign.
    pub threshold: u16,
    /// How many participants there are.
    pub participants: u16,
    /// The epoch of the polynomial.
    pub epoch: u64,
    /// The offer that brings the epoch.
    pub offer_id: &'a [u8; 16],
}

/// The bucket of a user: one node serves all users of a bucket.
#[must_use]
pub fn bucket(user: &str, buckets: u64) -> u64 {
    let digest = Context::new("bucket").text(user).digest();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(head).checked_rem(buckets).unwrap_or(0)
}

/// What the HSM's `master` must authenticate to give a user's node; `buckets` of 0 is one node a user.
#[must_use]
pub fn node_message(vault: &[u8; 16], user: &str, buckets: u64) -> Vec<u8> {
    if buckets == 0 {
        return Context::new("node/user").bytes(vault).text(user).finish();
    }
    Context::new("node/bucket")
        .bytes(vault)
        .number(buckets)
        .number(bucket(user, buckets))
        .finish()
}

fn expander(node: &Node) -> Hkdf<Sha512> {
    Hkdf::from_prk(node.expose()).expect("64 bytes are a PRK of SHA-512")
}

/// The commitments and every participant's share of the polynomial that the path names.
pub fn derive(node: &Node, path: &Path<'_>) -> Result<Deal> {
    let mut derived = derive_many(path.suite, path.participants, &[(node, *path)])?;
    derived
        .pop()
        .ok_or_else(|| Error::protocol("no key was derived"))
}

/// The same for several paths of one suite and number of participants.
pub fn derive_many(
    suite: SuiteId,
    participants: u16,
    paths: &[(&Node, Path<'_>)],
) -> Result<Vec<Deal>> {
    with_suite!(suite, C => {
        let polynomials = paths
            .iter()
            .map(|(node, path)| polynomial::<C>(node, path))
            .collect::<Result<Vec<_>>>()?;
        deals_of::<C>(&polynomials, participants)
    })
}

fn polynomial<C: Suite>(node: &Node, path: &Path<'_>) -> Result<Zeroized<C>> {
    check_numbers(path.threshold, path.participants)?;
    let node = expander(node);
    let mut coefficients = Zeroized::<C>(Vec::with_capacity(path.threshold.into()));
    for k in 0..u64::from(path.threshold) {
        coefficients.0.push(coefficient::<C>(&node, path, k)?);
    }
    Ok(coefficients)
}

/// One participant's share of the polynomial that the path names; no group operation is done.
pub fn derive_share(node: &Node, path: &Path<'_>, participant: u16) -> Result<Share> {
    check_numbers(path.threshold, path.participants)?;
    if participant == 0 || participant > path.participants {
        return Err(Error::request(format!(
            "there is no participant {participant}"
        )));
    }
    with_suite!(path.suite, C => {
        let coefficients = polynomial::<C>(node, path)?;
        Ok(Share::of::<C>(&evaluate::<C>(&coefficients.0, participant)))
    })
}

fn coefficient<C: Suite>(node: &Hkdf<Sha512>, path: &Path<'_>, k: u64) -> Result<Scal<C>> {
    let info = Context::new("coefficient")
        .text(path.user)
        .text(C::SUITE.context_string())
        .number(path.generation)
        .number(k);
    // The key itself does not move with epochs; every other coefficient is an epoch's own.
    let info = if k == 0 {
        info
    } else {
        info.number(path.epoch)
            .number(path.threshold.into())
            .number(path.participants.into())
            .bytes(path.offer_id)
    };
    let mut wide = Zeroizing::new(vec![0u8; if C::SUITE == SuiteId::Ed448 { 114 } else { 64 }]);
    node.expand(&info.finish(), &mut wide)
        .expect("114 bytes are within HKDF's limit");
    let scalar = wide_scalar::<C>(&mut wide)?;
    if scalar == zero::<C>() {
        return Err(Error::request("a derived coefficient is zero"));
    }
    Ok(scalar)
}

/// The bytes as an integer in the suite's order of bytes, modulo the group order.
///
/// Digits as wide as surely stay below the order are read one by one, so that any suite's own field does the work.
fn wide_scalar<C: Suite>(wide: &mut [u8]) -> Result<Scal<C>> {
    let little = matches!(
        C::SUITE,
        SuiteId::Ed25519 | SuiteId::Ristretto255 | SuiteId::Ed448
    );
    if !little {
        wide.reverse();
    }
    let len = C::SUITE.scalar_len();
    let digit_len = if C::SUITE == SuiteId::Ed448 { 55 } else { 31 };
    let read = |digit: &[u8]| {
        let mut bytes = Zeroizing::new(vec![0u8; len]);
        bytes[..digit.len()].copy_from_slice(digit);
        if !little {
            bytes.reverse();
        }
        decode_scalar::<C>(&bytes)
    };
    let mut base = vec![0u8; digit_len + 1];
    base[digit_len] = 1;
    let base = read(&base)?;
    wide.chunks(digit_len)
        .rev()
        .try_fold(zero::<C>(), |sum, digit| Ok(sum * base + read(digit)?))
}

/// A share taken from a later one: what a device adds to get from the first to the second.
pub fn difference(from: &Share, to: &Share) -> Result<Share> {
    if from.suite() != to.suite() {
        return Err(Error::request("the shares are of two suites"));
    }
    with_suite!(from.suite(), C => {
        Ok(Share::of::<C>(&(to.scalar::<C>()? - from.scalar::<C>()?)))
    })
}

/// The enrolment code of this salt.
#[must_use]
pub fn enrolment_code(node: &Node, vault: &[u8; 16], key: &[u8; 16], salt: &[u8; 16]) -> MacKey {
    let info = Context::new("code").bytes(vault).bytes(key).bytes(salt);
    let mut okm = Zeroizing::new([0u8; 32]);
    expander(node)
        .expand(&info.finish(), okm.as_mut())
        .expect("32 bytes are within HKDF's limit");
    MacKey::from_slice(okm.as_ref()).expect("the buffer has the key's length")
}

/// The tag of a row's context under its user's row key.
#[must_use]
pub fn row_mac(node: &Node, user: &str, context: &[u8]) -> [u8; ROW_MAC_LEN] {
    let mut key = Zeroizing::new([0u8; 32]);
    expander(node)
        .expand(&Context::new("row-key").text(user).finish(), key.as_mut())
        .expect("32 bytes are within HKDF's limit");
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref()).expect("HMAC takes any key");
    mac.update(context);
    let tag = mac.finalize().into_bytes();
    let mut own = [0; ROW_MAC_LEN];
    own.copy_from_slice(&tag[..ROW_MAC_LEN]);
    own
}

/// Refuses a row whose columns are not those that were written.
pub fn check_row(node: &Node, user: &str, context: &[u8], tag: &[u8]) -> Result<()> {
    if row_mac(node, user, context).ct_eq(tag).into() {
        return Ok(());
    }
    Err(Error::seal(
        "the row's tag does not fit: a column bound to it was changed or moved",
    ))
}

/// What the settings of a vault are bound by where its only root key makes MACs.
#[must_use]
pub fn settings_tag(node: &Node) -> [u8; 32] {
    Sha256::digest(node.expose()).into()
}

#[cfg(test)]
#[path = "derive_tests.rs"]
mod tests;
