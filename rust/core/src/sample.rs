//! Keys of any shape, for tests.

use rand_core::OsRng;

use crate::commitment::Commitment;
use crate::error::Result;
use crate::group::Group;
use crate::polynomial::{deal, Share};
use crate::round_two::{commit, sign, Nonces, Request};
use crate::secret::MacKey;
use crate::sign::aggregate;
use crate::suite::{SuiteId, Taproot};

pub(crate) const MESSAGE: &[u8] = b"what is signed";

/// A dealt key and everyone's shares.
pub(crate) struct Sample {
    pub(crate) group: Group,
    pub(crate) shares: Vec<Share>,
}

impl Sample {
    pub(crate) fn deal(suite: SuiteId, threshold: u16, n: u16) -> Self {
        let dealt = deal(suite, threshold, n, &mut OsRng).unwrap();
        let mut names: Vec<String> = (1..n).map(|i| format!("device-{i}")).collect();
        names.push("server".into());
        let user = names[0].clone();
        let group = Group::new(
            [7; 16],
            user,
            suite,
            0,
            threshold,
            names,
            1,
            dealt.commitments,
        );
        Self {
            group: group.unwrap(),
            shares: dealt.shares,
        }
    }

    pub(crate) fn share(&self, number: u16) -> &Share {
        &self.shares[usize::from(number) - 1]
    }

    /// Both rounds by these signers; `spoil` may change the signature shares.
    pub(crate) fn sign(
        &self,
        signers: &[u16],
        spoil: impl FnOnce(&mut Vec<(u16, Vec<u8>)>),
    ) -> Result<Vec<u8>> {
        let nonces: Vec<Nonces> = signers
            .iter()
            .map(|i| commit(self.share(*i), *i, &mut OsRng).unwrap())
            .collect();
        let commitments: Vec<Commitment> = nonces.iter().map(|n| n.commitment().clone()).collect();
        let request = untweaked(&commitments);
        let mut shares = Vec::new();
        for (number, nonces) in signers.iter().zip(nonces) {
            shares.push((
                *number,
                sign(nonces, self.share(*number), &self.group, &request)?,
            ));
        }
        spoil(&mut shares);
        aggregate(&self.group, &request, &shares)
    }
}

pub(crate) fn untweaked(commitments: &[Commitment]) -> Request<'_> {
    Request {
        message: MESSAGE,
        taproot: Taproot::Untweaked,
        commitments,
    }
}

pub(crate) fn mac_key(byte: u8) -> MacKey {
    MacKey::from_slice(&[byte; 32]).unwrap()
}
