//! Data keys and nodes on their way to and from an HSM whose only client is a Python one.
//!
//! Nothing else crosses here: never a share.

use icehouse_core::secret;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_py;
use crate::secret::{DataKey, Node};

/// A fresh data key from the operating system's randomness.
#[pyfunction]
pub fn new_data_key() -> DataKey {
    DataKey(secret::DataKey::random())
}

/// The data key that a vendor's client brought back; Python's copy cannot be wiped.
#[pyfunction]
pub fn data_key_from_bytes(carried: &[u8]) -> PyResult<DataKey> {
    secret::DataKey::from_slice(carried)
        .map(DataKey)
        .map_err(to_py)
}

/// The bytes of a data key, for a vendor's client to carry; Python's copy cannot be wiped.
#[pyfunction]
pub fn data_key_to_bytes<'py>(py: Python<'py>, key: &DataKey) -> Bound<'py, PyBytes> {
    PyBytes::new(py, key.0.expose())
}

/// The node that a vendor's client brought back; Python's copy cannot be wiped.
#[pyfunction]
pub fn node_from_bytes(carried: &[u8]) -> PyResult<Node> {
    secret::Node::from_slice(carried).map(Node).map_err(to_py)
}

/// Whether two data keys, or two nodes, are the same, in constant time.
#[pyfunction]
pub fn same_secret(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let (Ok(one), Ok(other)) = (one.cast::<DataKey>(), other.cast::<DataKey>()) {
        return Ok(one.get().0.same_as(&other.get().0));
    }
    if let (Ok(one), Ok(other)) = (one.cast::<Node>(), other.cast::<Node>()) {
        return Ok(one.get().0.same_as(&other.get().0));
    }
    Err(PyTypeError::new_err(
        "two data keys or two nodes can be compared, nothing else",
    ))
}
