//! Hierarchical derivation, for Python: nodes come from an HSM, shares and tags follow from them here.

use icehouse_core::derive as core;
use icehouse_core::derived_page;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{fixed, OrPy};
use crate::group::suite;
use crate::secret::{Node, Share};

/// What a user's path is made of: suite, generation, threshold, participants, epoch, offer id.
pub type PathFields<'a> = (&'a str, u64, u16, u16, u64, &'a [u8]);

fn with_path<T>(
    user: &str,
    fields: PathFields<'_>,
    work: impl FnOnce(&core::Path<'_>) -> icehouse_core::Result<T>,
) -> PyResult<T> {
    let (suite_name, generation, threshold, participants, epoch, offer_id) = fields;
    let offer_id = fixed("offer id", offer_id)?;
    let path = core::Path {
        user,
        suite: suite(suite_name)?,
        generation,
        threshold,
        participants,
        epoch,
        offer_id: &offer_id,
    };
    work(&path).or_py()
}

/// The commitments, one after the other, and every share of the polynomial that the path names.
#[pyfunction]
pub fn derive<'py>(
    py: Python<'py>,
    node: &Node,
    user: &str,
    path: PathFields<'_>,
) -> PyResult<(Bound<'py, PyBytes>, Vec<Share>)> {
    let dealt = with_path(user, path, |path| core::derive(&node.0, path))?;
    Ok((
        PyBytes::new(py, &dealt.commitments.concat()),
        dealt.shares.into_iter().map(Share).collect(),
    ))
}

/// One participant's share of the polynomial that the path names.
#[pyfunction]
pub fn derive_share(
    node: &Node,
    user: &str,
    path: PathFields<'_>,
    participant: u16,
) -> PyResult<Share> {
    with_path(user, path, |path| {
        core::derive_share(&node.0, path, participant)
    })
    .map(Share)
}

/// What the HSM's `master` must authenticate to give a user's node.
#[pyfunction]
pub fn node_message<'py>(
    py: Python<'py>,
    vault: &[u8],
    user: &str,
    buckets: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let message = core::node_message(&fixed("vault", vault)?, user, buckets);
    Ok(PyBytes::new(py, &message))
}

/// The bucket of a user.
#[pyfunction]
pub fn bucket(user: &str, buckets: u64) -> u64 {
    core::bucket(user, buckets)
}

type DerivedRow<'py> = (
    i64,
    i64,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// Derives a 2-of-2 key for every user from the node beside it: as `deal_page` does, with a tag for the server record and no claim record.
#[pyfunction]
pub fn derive_page<'py>(
    py: Python<'py>,
    vault: &[u8],
    suite_name: &str,
    server: &str,
    origin: &str,
    attested: bool,
    users: Vec<(String, PyRef<'py, Node>)>,
) -> PyResult<Vec<DerivedRow<'py>>> {
    let page = derived_page::DerivedPage {
        vault: fixed("vault", vault)?,
        suite: suite(suite_name)?,
        server,
        origin,
        attested,
    };
    let users: Vec<(String, &icehouse_core::secret::Node)> = users
        .iter()
        .map(|(user, node)| (user.clone(), &node.0))
        .collect();
    let derived = py
        .detach(|| derived_page::derive_page(&page, &users))
        .or_py()?;
    let bytes = |value: &[u8]| PyBytes::new(py, value);
    Ok(derived
        .iter()
        .map(|row| {
            (
                row.tags.0,
                row.tags.1,
                bytes(&row.commitments),
                bytes(&row.mac),
                bytes(&[]),
            )
        })
        .collect())
}
