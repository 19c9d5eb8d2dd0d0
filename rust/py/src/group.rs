//! Groups, rows and dealing, for Python.

use icehouse_core::request::taproot_from;
use icehouse_core::suite::{SuiteId, Taproot};
use icehouse_core::{derive, group, polynomial, rotate as rotation, seal, sign, Error};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{fixed, OrPy};
use crate::secret::{DataKey, Node, Share};

pub fn suite(name: &str) -> PyResult<SuiteId> {
    SuiteId::from_name(name).or_py()
}

pub fn taproot(root: Option<&str>, suite: SuiteId) -> PyResult<Taproot> {
    // From a caller it is a wrong request; only in a message would it be a malformed one.
    taproot_from(root, suite)
        .map_err(|error| match error {
            Error::Malformed(text) => Error::Request(text),
            other => other,
        })
        .or_py()
}

/// The public facts of a key at an epoch.
#[pyclass(frozen, module = "icehouse._core")]
pub struct Group(pub group::Group);

#[pymethods]
impl Group {
    #[new]
    #[allow(clippy::too_many_arguments)]
    fn new(
        vault: &[u8],
        user: String,
        suite_name: &str,
        generation: u64,
        threshold: u16,
        participants: Vec<String>,
        epoch: u64,
        commitments: &[u8],
    ) -> PyResult<Self> {
        let suite = suite(suite_name)?;
        let commitments = commitments
            .chunks(suite.element_len())
            .map(<[u8]>::to_vec)
            .collect();
        let vault = fixed("vault", vault)?;
        group::Group::new(
            vault,
            user,
            suite,
            generation,
            threshold,
            participants,
            epoch,
            commitments,
        )
        .or_py()
        .map(Self)
    }

    #[getter]
    fn key_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.key_id())
    }

    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.0.public_key().or_py()?))
    }

    /// The commitments, one after the other.
    #[getter]
    fn commitments<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.commitments().concat())
    }

    #[getter]
    fn epoch(&self) -> u64 {
        self.0.epoch()
    }

    /// The same key at another epoch, with other commitments.
    fn at(&self, epoch: u64, commitments: &[u8]) -> PyResult<Self> {
        let chunks = commitments
            .chunks(self.0.suite().element_len())
            .map(<[u8]>::to_vec)
            .collect();
        self.0.at(epoch, chunks).or_py().map(Self)
    }

    /// A participant's verifying share.
    fn verifying_share<'py>(
        &self,
        py: Python<'py>,
        participant: u16,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(
            py,
            &polynomial::verifying_share(&self.0, participant).or_py()?,
        ))
    }

    /// What both sides sign to commit an offer.
    fn proof_message<'py>(
        &self,
        py: Python<'py>,
        offer_id: &[u8],
        device_key: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (offer_id, device_key) = (
            fixed("offer id", offer_id)?,
            fixed("device key", device_key)?,
        );
        let message = py
            .detach(|| self.0.proof_message(&offer_id, &device_key))
            .or_py()?;
        Ok(PyBytes::new(py, &message))
    }

    /// Raises unless the signature verifies under this key.
    #[pyo3(signature = (message, signature, taproot_root=None))]
    fn verify(
        &self,
        py: Python<'_>,
        message: &[u8],
        signature: &[u8],
        taproot_root: Option<&str>,
    ) -> PyResult<()> {
        let taproot = taproot(taproot_root, self.0.suite())?;
        py.detach(|| sign::verify(&self.0, message, taproot, signature))
            .or_py()
    }
}

/// Raises unless the signature verifies under a bare public key.
#[pyfunction]
#[pyo3(signature = (suite_name, public_key, message, signature, taproot_root=None))]
pub fn verify(
    py: Python<'_>,
    suite_name: &str,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
    taproot_root: Option<&str>,
) -> PyResult<()> {
    let suite = suite(suite_name)?;
    let taproot = taproot(taproot_root, suite)?;
    py.detach(|| sign::verify_public(suite, public_key, message, taproot, signature))
        .or_py()
}

/// The id of a key: a hash of vault, user, suite and generation.
#[pyfunction]
pub fn key_id<'py>(
    py: Python<'py>,
    vault: &[u8],
    user: &str,
    suite_name: &str,
    generation: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let suite = suite(suite_name)?.context_string();
    let id = icehouse_core::context::key_id(&fixed("vault", vault)?, user, suite, generation);
    Ok(PyBytes::new(py, &id))
}

/// The SHA-256 of `ctx(kind, …)`: what an HSM gets for a context.
#[pyfunction]
pub fn context_digest<'py>(py: Python<'py>, kind: &str, fields: Vec<Field>) -> Bound<'py, PyBytes> {
    let start = icehouse_core::context::Context::new(kind);
    let context = fields
        .into_iter()
        .fold(start, |context, field| match field {
            Field::Number(number) => context.number(number),
            Field::Text(text) => context.text(&text),
            Field::Bytes(bytes) => context.bytes(&bytes),
        });
    PyBytes::new(py, &context.digest())
}

/// A field of a context.
#[derive(FromPyObject)]
pub enum Field {
    /// An integer.
    Number(u64),
    /// Text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

/// New commitments and every participant's difference for the next epoch.
#[pyfunction]
pub fn rotate<'py>(py: Python<'py>, group: &Group) -> PyResult<(Bound<'py, PyBytes>, Vec<Share>)> {
    let drawn = py
        .detach(|| rotation::rotate(&group.0, &mut rand_core::OsRng))
        .or_py()?;
    let differences = drawn.differences.into_iter().map(Share).collect();
    Ok((PyBytes::new(py, &drawn.commitments.concat()), differences))
}

/// The columns of a standing offer, in the order of `seal::Pending`.
type PendingColumns<'a> = (u64, &'a [u8], &'a [u8], &'a [u8], u64, &'a [u8]);

/// A key's row: what every sealed record of it is bound to.
#[pyclass(frozen, module = "icehouse._core")]
pub struct Row(seal::Row);

impl Row {
    fn pending_context(
        &self,
        pending: PendingColumns<'_>,
        data_key: u64,
        participant: u16,
    ) -> PyResult<Vec<u8>> {
        let (epoch, commitments, offer_id, device_key, expires, payload) = pending;
        let commitments: Vec<Vec<u8>> = commitments
            .chunks(self.0.group.suite().element_len())
            .map(<[u8]>::to_vec)
            .collect();
        let role = seal::Role::Pending(seal::Pending {
            epoch,
            commitments: &commitments,
            offer_id: &fixed("offer id", offer_id)?,
            device_key: &fixed("device key", device_key)?,
            expires,
            payload,
        });
        Ok(self.0.context(role, data_key, participant))
    }

    fn context(
        &self,
        role: &str,
        data_key: u64,
        participant: u16,
        pending: Option<PendingColumns<'_>>,
    ) -> PyResult<Vec<u8>> {
        match (role, pending) {
            ("current", None) => Ok(self.0.context(seal::Role::Current, data_key, participant)),
            ("claim", None) => Ok(self.0.context(seal::Role::Claim, data_key, participant)),
            ("pending", Some(pending)) => self.pending_context(pending, data_key, participant),
            _ => Err(pyo3::exceptions::PyValueError::new_err(
                "role and pending columns do not fit",
            )),
        }
    }
}

#[pymethods]
impl Row {
    #[new]
    #[pyo3(signature = (group, next_epoch, state, origin, attested, salt, offer_id, standing=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        group: &Group,
        next_epoch: u64,
        state: String,
        origin: String,
        attested: bool,
        salt: Option<&[u8]>,
        offer_id: Option<&[u8]>,
        standing: Option<&[u8]>,
    ) -> PyResult<Self> {
        Ok(Self(seal::Row {
            group: group.0.clone(),
            next_epoch,
            state,
            origin,
            attested,
            salt: salt.map(|salt| fixed("salt", salt)).transpose()?,
            offer_id: offer_id.map(|id| fixed("offer id", id)).transpose()?,
            standing: standing.map(|id| fixed("standing offer", id)).transpose()?,
        }))
    }

    /// Seals a share into this row under data key `number`.
    #[pyo3(signature = (role, data_key, number, participant, share, pending=None))]
    #[allow(clippy::too_many_arguments)]
    fn seal<'py>(
        &self,
        py: Python<'py>,
        role: &str,
        data_key: &DataKey,
        number: u64,
        participant: u16,
        share: &Share,
        pending: Option<PendingColumns<'_>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let aad = self.context(role, number, participant, pending)?;
        Ok(PyBytes::new(
            py,
            &seal::seal(&data_key.0, &share.0, &aad).or_py()?,
        ))
    }

    /// The tag of this row, or of the offer beside it, under its user's node.
    #[pyo3(signature = (role, node, participant, pending=None))]
    fn tag<'py>(
        &self,
        py: Python<'py>,
        role: &str,
        node: &Node,
        participant: u16,
        pending: Option<PendingColumns<'_>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let context = self.context(role, 0, participant, pending)?;
        let tag = derive::row_mac(&node.0, self.0.group.user(), &context);
        Ok(PyBytes::new(py, &tag))
    }

    /// Raises `SealError` unless the tag is this row's.
    #[pyo3(signature = (role, node, participant, tag, pending=None))]
    fn check_tag(
        &self,
        role: &str,
        node: &Node,
        participant: u16,
        tag: &[u8],
        pending: Option<PendingColumns<'_>>,
    ) -> PyResult<()> {
        let context = self.context(role, 0, participant, pending)?;
        derive::check_row(&node.0, self.0.group.user(), &context, tag).or_py()
    }

    /// Opens a record of this row, or raises `SealError`.
    #[pyo3(signature = (role, data_key, number, participant, record, pending=None))]
    #[allow(clippy::too_many_arguments)]
    fn open(
        &self,
        role: &str,
        data_key: &DataKey,
        number: u64,
        participant: u16,
        record: &[u8],
        pending: Option<PendingColumns<'_>>,
    ) -> PyResult<Share> {
        let aad = self.context(role, number, participant, pending)?;
        seal::Sealer::new(&data_key.0)
            .open(&self.0.group, record, &aad)
            .or_py()
            .map(Share)
    }
}
