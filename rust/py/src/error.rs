//! The core's errors as the Python exceptions of `icehouse.errors`.

use icehouse_core::Error;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// The Python exception of a core error; the class is looked up when it is needed.
pub fn to_py(error: Error) -> PyErr {
    Python::attach(|py| build(py, error).unwrap_or_else(|failure| failure))
}

fn build(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let text = error.to_string();
    let extra = PyDict::new(py);
    let name = match error {
        Error::Request(_) => "RequestError",
        Error::Seal(_) => "SealError",
        Error::Malformed(_) | Error::BadMac => "ProtocolError",
        Error::Protocol { culprits, .. } => {
            extra.set_item("culprits", PyTuple::new(py, culprits)?)?;
            "ProtocolError"
        }
        Error::Refused {
            reason,
            authenticated,
        } => {
            extra.set_item("reason", reason)?;
            extra.set_item("authenticated", authenticated)?;
            "RefusedError"
        }
    };
    let class = py.import("icehouse.errors")?.getattr(name)?;
    Ok(PyErr::from_value(class.call((text,), Some(&extra))?))
}

/// Core results as Python results.
pub trait OrPy<T> {
    /// The value, or the exception of the error.
    fn or_py(self) -> PyResult<T>;
}

impl<T> OrPy<T> for icehouse_core::Result<T> {
    fn or_py(self) -> PyResult<T> {
        self.map_err(to_py)
    }
}

/// Exactly `N` bytes from Python.
pub fn fixed<const N: usize>(what: &str, bytes: &[u8]) -> PyResult<[u8; N]> {
    bytes.try_into().map_err(|_| {
        to_py(Error::Request(format!(
            "{what} must be {N} bytes, not {}",
            bytes.len()
        )))
    })
}
