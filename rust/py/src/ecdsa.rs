//! ECDSA on P-256 as HSMs and key services write it, for Python.

use icehouse_core::ecdsa;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::OrPy;

/// Whether `r ‖ s` is a signature on a digest of 32 bytes under an uncompressed point.
#[pyfunction]
pub fn ecdsa_verifies(point: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    ecdsa::verify(point, digest, signature).is_ok()
}

/// The `r ‖ s` of a signature in DER; raises `ProtocolError`.
#[pyfunction]
pub fn ecdsa_raw_signature<'py>(py: Python<'py>, der: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let raw = ecdsa::raw_signature(der).or_py()?;
    Ok(PyBytes::new(py, &raw))
}

/// The uncompressed point in a SubjectPublicKeyInfo; raises `ProtocolError`.
#[pyfunction]
pub fn ecdsa_point<'py>(py: Python<'py>, der: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let point = ecdsa::point_of(der).or_py()?;
    Ok(PyBytes::new(py, &point))
}
