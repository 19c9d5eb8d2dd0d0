//! A page of keys in one call, on all cores: new ones dealt and sealed, old ones checked.

use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, SeedableRng};

use crate::context::{tag, user_tag};
use crate::cores::in_chunks;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::polynomial::{check_shares, deal_many, Deal, Share};
use crate::seal::{Role, Row, Sealer};
use crate::secret::DataKey;
use crate::suite::SuiteId;

/// What all keys of a page have in common.
pub struct Page<'a> {
    /// The vault's id.
    pub vault: [u8; 16],
    /// The ciphersuite.
    pub suite: SuiteId,
    /// The server's participant name.
    pub server: &'a str,
    /// How the keys are made.
    pub origin: &'a str,
    /// Whether the HSM that protects them is one.
    pub attested: bool,
    /// The data key of the server's records, by number.
    pub server_key: (u64, &'a DataKey),
    /// The data key of the device's records until they are claimed.
    pub claim_key: (u64, &'a DataKey),
}

/// One new key, ready to be written.
pub struct Dealt {
    /// The tag of the user, and that of the key's id.
    pub tags: (i64, i64),
    /// The commitments, one after the other.
    pub commitments: Vec<u8>,
    /// The server's share, sealed.
    pub server: Vec<u8>,
    /// The device's share, sealed under the claim key.
    pub claim: Vec<u8>,
}

/// Deals a 2-of-2 key `[user, server]` to every user and seals both shares.
pub fn deal_page(page: &Page<'_>, users: &[String]) -> Result<Vec<Dealt>> {
    let server = Sealer::new(page.server_key.1);
    let claim = Sealer::new(page.claim_key.1);
    in_chunks(users, |chunk| {
        let mut rng = ChaCha20Rng::from_rng(OsRng)
            .map_err(|_| Error::request("the operating system has no randomness to give"))?;
        deal_many(page.suite, 2, 2, chunk.len(), &mut rng)?
            .into_iter()
            .zip(chunk)
            .map(|(dealt, user)| seal_one(page, user, dealt, &server, &claim, &mut rng))
            .collect()
    })
}

fn seal_one(
    page: &Page<'_>,
    user: &str,
    dealt: Deal,
    server: &Sealer,
    claim: &Sealer,
    rng: &mut ChaCha20Rng,
) -> Result<Dealt> {
    let joined = dealt.commitments.concat();
    let row = Row::dealt(
        page.vault,
        user,
        page.suite,
        page.server,
        page.origin,
        page.attested,
        dealt.commitments,
    )?;
    let [device_share, server_share] = &dealt.shares[..] else {
        return Err(Error::protocol(
            "dealing 2-of-2 made another number of shares",
        ));
    };
    let claim_aad = row.context(Role::Claim, page.claim_key.0, 1);
    let server_aad = row.context(Role::Current, page.server_key.0, 2);
    Ok(Dealt {
        tags: (user_tag(&page.vault, user), tag(&row.group.key_id())),
        commitments: joined,
        server: server.seal(server_share, &server_aad, rng)?,
        claim: claim.seal(device_share, &claim_aad, rng)?,
    })
}

/// Participants' shares of a group.
pub type Held<'a> = (&'a Group, Vec<(u16, &'a Share)>);

/// For each group, why these shares are not its participants'.
pub fn check_page(page: &[Held<'_>]) -> Result<Vec<Option<Error>>> {
    in_chunks(page, |chunk| {
        Ok(chunk
            .iter()
            .map(|(group, shares)| check_shares(group, shares).err())
            .collect())
    })
}
