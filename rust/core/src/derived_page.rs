//! A page of new keys whose shares follow from nodes: nothing secret is made, only tagged rows.

use crate::context::{tag, user_tag};
use crate::cores::in_chunks;
use crate::derive::{derive_many, row_mac, Path};
use crate::error::Result;
use crate::polynomial::Deal;
use crate::seal::{Role, Row};
use crate::secret::Node;
use crate::suite::SuiteId;

/// The offer id of epoch 0, which no device is ever dealt.
pub const NO_OFFER: [u8; 16] = [0; 16];

/// What all keys of a page have in common.
pub struct DerivedPage<'a> {
    /// The vault's id.
    pub vault: [u8; 16],
    /// The ciphersuite.
    pub suite: SuiteId,
    /// The server's participant name.
    pub server: &'a str,
    /// How the keys are made.
    pub origin: &'a str,
    /// Whether the HSM that derives them is one.
    pub attested: bool,
}

/// One new key, ready to be written.
pub struct Derived {
    /// The tags by which the row is found: the user's and the key id's.
    pub tags: (i64, i64),
    /// The commitments at epoch 0, one after the other.
    pub commitments: Vec<u8>,
    /// What binds the row's columns.
    pub mac: [u8; 16],
}

/// Derives a 2-of-2 key `[user, server]` for every user from the node beside it, on all cores.
pub fn derive_page(page: &DerivedPage<'_>, users: &[(String, &Node)]) -> Result<Vec<Derived>> {
    in_chunks(users, |chunk| {
        let paths: Vec<_> = chunk
            .iter()
            .map(|(user, node)| (*node, first_path(page, user)))
            .collect();
        derive_many(page.suite, 2, &paths)?
            .into_iter()
            .zip(chunk)
            .map(|(dealt, (user, node))| mac_one(page, user, node, dealt))
            .collect()
    })
}

fn first_path<'a>(page: &DerivedPage<'_>, user: &'a str) -> Path<'a> {
    Path {
        user,
        suite: page.suite,
        generation: 0,
        threshold: 2,
        participants: 2,
        epoch: 0,
        offer_id: &NO_OFFER,
    }
}

fn mac_one(page: &DerivedPage<'_>, user: &str, node: &Node, dealt: Deal) -> Result<Derived> {
    let commitments = dealt.commitments.concat();
    let row = Row::dealt(
        page.vault,
        user,
        page.suite,
        page.server,
        page.origin,
        page.attested,
        dealt.commitments,
    )?;
    Ok(Derived {
        tags: (user_tag(&page.vault, user), tag(&row.group.key_id())),
        commitments,
        mac: row_mac(node, user, &row.context(Role::Current, 0, 2)),
    })
}
