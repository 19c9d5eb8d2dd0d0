//! The core's errors as Python exceptions; `icehouse.errors` gives them their place in the tree.

use icehouse_core::Error;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// The exception of `icehouse.errors` for an error of the core.
pub fn to_py(err: Error) -> PyErr {
    let text = err.to_string();
    match err {
        Error::Request(_) => raise("RequestError", &text, None),
        Error::Malformed(_) | Error::BadMac => raise("ProtocolError", &text, None),
        Error::Seal(_) => raise("SealError", &text, None),
        Error::Protocol { culprits, .. } => build("ProtocolError", &text, |py, kwargs| {
            kwargs.set_item("culprits", PyTuple::new(py, culprits)?)
        }),
        Error::Refused {
            reason,
            authenticated,
        } => build("RefusedError", &text, |_, kwargs| {
            kwargs.set_item("reason", reason)?;
            kwargs.set_item("authenticated", authenticated)
        }),
    }
}

/// The exception of `icehouse.errors` with this name, a message and perhaps a hint.
pub fn raise(class: &str, message: &str, hint: Option<&str>) -> PyErr {
    build(class, message, |_, kwargs| match hint {
        Some(hint) => kwargs.set_item("hint", hint),
        None => Ok(()),
    })
}

fn build(
    class: &str,
    message: &str,
    fill: impl FnOnce(Python<'_>, &Bound<'_, PyDict>) -> PyResult<()>,
) -> PyErr {
    Python::attach(|py| {
        let made = (|| {
            let kwargs = PyDict::new(py);
            fill(py, &kwargs)?;
            py.import("icehouse.errors")?
                .getattr(class)?
                .call((message,), Some(&kwargs))
        })();
        match made {
            Ok(exception) => PyErr::from_value(exception),
            Err(failure) => failure,
        }
    })
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
