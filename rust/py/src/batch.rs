//! Work on many keys in one call: the GIL is released and every core used.

use icehouse_core::context::user_tag;
use icehouse_core::page::{self, Page};
use icehouse_core::polynomial;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyBytes;

use crate::error::{fixed, OrPy};
use crate::group::{suite, Group};
use crate::secret::{DataKey, Share};

type DealtRow<'py> = (
    i64,
    i64,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// Deals a 2-of-2 key to every user: `(user tag, key tag, commitments, server record, claim record)` each.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn deal_page<'py>(
    py: Python<'py>,
    vault: &[u8],
    suite_name: &str,
    server: &str,
    origin: &str,
    attested: bool,
    server_key: (u64, PyRef<'py, DataKey>),
    claim_key: (u64, PyRef<'py, DataKey>),
    users: Vec<String>,
) -> PyResult<Vec<DealtRow<'py>>> {
    let page = Page {
        vault: fixed("vault", vault)?,
        suite: suite(suite_name)?,
        server,
        origin,
        attested,
        server_key: (server_key.0, &server_key.1 .0),
        claim_key: (claim_key.0, &claim_key.1 .0),
    };
    let dealt = py.detach(|| page::deal_page(&page, &users)).or_py()?;
    let bytes = |value: &[u8]| PyBytes::new(py, value);
    Ok(dealt
        .iter()
        .map(|row| {
            (
                row.tags.0,
                row.tags.1,
                bytes(&row.commitments),
                bytes(&row.server),
                bytes(&row.claim),
            )
        })
        .collect())
}

/// A group, and shares of it with the numbers of their participants.
type Holding<'py> = (Bound<'py, Group>, Vec<(u16, Bound<'py, Share>)>);

/// For each group, what is wrong with these participants' shares of it; `None`: nothing.
#[pyfunction]
pub fn check_page(py: Python<'_>, page: Vec<Holding<'_>>) -> PyResult<Vec<Option<String>>> {
    let page: Vec<_> = page
        .iter()
        .map(|(group, shares)| {
            let shares = shares
                .iter()
                .map(|(number, share)| (*number, &share.get().0));
            (&group.get().0, shares.collect::<Vec<_>>())
        })
        .collect();
    let found = py.detach(|| page::check_page(&page)).or_py()?;
    let words = |error: Option<_>| error.map(|error: icehouse_core::Error| error.to_string());
    Ok(found.into_iter().map(words).collect())
}

/// The tags of users in a vault, in order.
#[pyfunction]
pub fn user_tags(vault: &[u8], users: Vec<PyBackedStr>) -> PyResult<Vec<i64>> {
    let vault = fixed("vault", vault)?;
    Ok(users.iter().map(|user| user_tag(&vault, user)).collect())
}

/// Deals one key of any shape: the commitments, one after the other, and the shares in order.
#[pyfunction]
pub fn deal<'py>(
    py: Python<'py>,
    suite_name: &str,
    threshold: u16,
    participants: u16,
) -> PyResult<(Bound<'py, PyBytes>, Vec<Share>)> {
    let suite = suite(suite_name)?;
    let dealt = py
        .detach(|| polynomial::deal(suite, threshold, participants, &mut rand_core::OsRng))
        .or_py()?;
    Ok((
        PyBytes::new(py, &dealt.commitments.concat()),
        dealt.shares.into_iter().map(Share).collect(),
    ))
}
