//! The peer of every ratio: `frost-ed25519` 3.0.0, its bare arithmetic, in memory.
//!
//! Prints one JSON object of microseconds per operation; each figure is a list of samples, so that
//! the caller can take medians over runs that alternate with its own. What runs on one thread is
//! timed call by call, as the caller times its own calls: a longer burst would be interrupted more often.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use frost_ed25519 as frost;
use frost_ed25519::keys::{
    generate_with_dealer, IdentifierList, KeyPackage, PublicKeyPackage, SecretShare,
};
use frost_ed25519::Identifier;
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, SeedableRng};
use rayon::prelude::*;

const CALLS: usize = 300;
const BATCHES: usize = 10;
/// Keys that all threads deal together in one batch.
const BATCH: usize = 1024;

type Dealt = (BTreeMap<Identifier, SecretShare>, PublicKeyPackage);

fn dealer(rng: &mut ChaCha20Rng) -> Dealt {
    generate_with_dealer(2, 2, IdentifierList::Default, rng).expect("2-of-2 is a valid shape")
}

fn seeded() -> ChaCha20Rng {
    ChaCha20Rng::from_rng(OsRng).expect("the operating system has randomness")
}

/// Microseconds per operation of so many batches.
fn sample(batches: usize, operations: usize, mut batch: impl FnMut()) -> Vec<f64> {
    batch();
    (0..batches)
        .map(|_| {
            let start = Instant::now();
            batch();
            start.elapsed().as_secs_f64() * 1e6 / operations as f64
        })
        .collect()
}

fn deal_on_one_thread() -> Vec<f64> {
    let mut rng = seeded();
    sample(CALLS, 1, || drop(black_box(dealer(&mut rng))))
}

fn deal_on_all_threads() -> Vec<f64> {
    sample(BATCHES, BATCH, || {
        (0..BATCH)
            .into_par_iter()
            .for_each_init(seeded, |rng, _| drop(black_box(dealer(rng))));
    })
}

/// Commit and sign share of participant 2; the key package and the other's commitments are decoded.
fn commit_and_sign() -> Vec<f64> {
    let mut rng = seeded();
    let (shares, _) = dealer(&mut rng);
    let packages: Vec<KeyPackage> = shares
        .into_values()
        .map(|share| KeyPackage::try_from(share).expect("the dealer's share fits"))
        .collect();
    let (_, device) = frost::round1::commit(packages[0].signing_share(), &mut rng);
    let device_id = *packages[0].identifier();
    let own = &packages[1];
    sample(CALLS, 1, || {
        let (nonces, commitments) = frost::round1::commit(own.signing_share(), &mut rng);
        let signers = BTreeMap::from([(device_id, device), (*own.identifier(), commitments)]);
        let package = frost::SigningPackage::new(signers, &[7; 32]);
        black_box(frost::round2::sign(&package, &nonces, own).expect("the package fits"));
    })
}

/// The dealer's refreshing shares, and what both participants make of theirs.
fn refresh() -> Vec<f64> {
    let mut rng = seeded();
    let (shares, public) = dealer(&mut rng);
    let packages: Vec<KeyPackage> = shares
        .into_values()
        .map(|share| KeyPackage::try_from(share).expect("the dealer's share fits"))
        .collect();
    let identifiers: Vec<Identifier> = packages.iter().map(|own| *own.identifier()).collect();
    sample(CALLS, 1, || {
        let (fresh, _) =
            frost::keys::refresh::compute_refreshing_shares(public.clone(), &identifiers, &mut rng)
                .expect("all participants take part");
        for (share, own) in fresh.into_iter().zip(&packages) {
            black_box(frost::keys::refresh::refresh_share(share, own).expect("it fits"));
        }
    })
}

fn main() {
    println!(
        "{}",
        serde_json::json!({
            "threads": rayon::current_num_threads(),
            "dealer_one_thread": deal_on_one_thread(),
            "dealer_all_threads": deal_on_all_threads(),
            "commit_and_sign": commit_and_sign(),
            "refresh": refresh(),
        })
    );
}
