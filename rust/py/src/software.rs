//! The software token as Python sees it: keys by label, and no way to look at one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use icehouse_core::pin;
use icehouse_core::software as core;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{raise, to_py};
use crate::secret::{DataKey, Node};

// scrypt with N = 2^12: about 10 ms. The file is for development and tests.
const WORK_FACTOR: u8 = 12;

/// Keys in software, by label.
// The lock is only ever held while this thread is attached to the interpreter. So no other thread can hold it at
// the moment of a `fork`, and a child never finds it locked for ever.
#[pyclass(frozen, module = "icehouse._core")]
pub struct SoftwareToken(Mutex<core::SoftwareToken>);

impl SoftwareToken {
    fn keys(&self) -> MutexGuard<'_, core::SoftwareToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, label: &str) -> PyResult<Arc<core::Key>> {
        self.keys().key(label).map_err(raised)
    }
}

#[pymethods]
impl SoftwareToken {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(core::SoftwareToken::new()))
    }

    /// Opens the bytes of a token file with the PIN in a file.
    #[staticmethod]
    fn from_file(py: Python<'_>, file: &[u8], pin_file: PathBuf) -> PyResult<Self> {
        let token = py.detach(|| {
            let pin = pin::read(&pin_file).map_err(to_py)?;
            core::SoftwareToken::from_file(file, &pin).map_err(raised)
        })?;
        Ok(Self(Mutex::new(token)))
    }

    /// The bytes of a token file, encrypted under the PIN in a file.
    fn to_file<'py>(&self, py: Python<'py>, pin_file: PathBuf) -> PyResult<Bound<'py, PyBytes>> {
        let token = self.keys().clone();
        let file = py.detach(|| {
            let pin = pin::read(&pin_file).map_err(to_py)?;
            token.to_file(&pin, WORK_FACTOR).map_err(raised)
        })?;
        Ok(PyBytes::new(py, &file))
    }

    /// Another token with the same keys, to be changed on its own.
    fn copy(&self) -> Self {
        Self(Mutex::new(self.keys().clone()))
    }

    fn create(&self, label: &str, kind: &str) -> PyResult<()> {
        self.keys().create(label, named(kind)?).map_err(raised)
    }

    fn destroy(&self, label: &str, kind: &str) -> PyResult<()> {
        self.keys().destroy(label, named(kind)?).map_err(raised)
    }

    fn labels(&self, prefix: &str) -> Vec<(String, &'static str)> {
        self.keys()
            .labels(prefix)
            .into_iter()
            .map(|(label, kind)| (label, kind.name()))
            .collect()
    }

    fn wrap<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        secret: &DataKey,
        context: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let wrapped = self.key(label)?.wrap(&secret.0, context).map_err(raised)?;
        Ok(PyBytes::new(py, &wrapped))
    }

    fn unwrap(&self, label: &str, wrapped: &[u8], context: &[u8]) -> PyResult<DataKey> {
        self.key(label)?
            .unwrap(wrapped, context)
            .map(DataKey)
            .map_err(raised)
    }

    fn mac(&self, py: Python<'_>, label: &str, message: &[u8]) -> PyResult<Node> {
        let key = self.key(label)?;
        py.detach(|| key.mac(message)).map(Node).map_err(raised)
    }

    fn sign<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        digest: [u8; 32],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let key = self.key(label)?;
        let signature = py.detach(|| key.sign(&digest)).map_err(raised)?;
        Ok(PyBytes::new(py, &signature))
    }

    fn public_key<'py>(&self, py: Python<'py>, label: &str) -> PyResult<Bound<'py, PyBytes>> {
        let point = self.key(label)?.public_key().map_err(raised)?;
        Ok(PyBytes::new(py, &point))
    }

    fn __len__(&self) -> usize {
        self.keys().len()
    }

    fn __repr__(&self) -> &'static str {
        "SoftwareToken(<redacted>)"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "SoftwareToken cannot be pickled: it holds secrets",
        ))
    }
}

fn named(kind: &str) -> PyResult<core::Kind> {
    core::Kind::named(kind).ok_or_else(|| {
        raise(
            "RequestError",
            &format!("kind must be one of aes, hmac, ecdsa, not {kind:?}"),
            None,
        )
    })
}

fn raised(err: core::Error) -> PyErr {
    let (class, hint) = match err {
        core::Error::Seal(_) => ("SealError", None),
        core::Error::WrongPin => (
            "HsmRefusedError",
            Some("check the PIN file named by pin-source in the HSM's URI"),
        ),
        _ => ("HsmRefusedError", None),
    };
    raise(class, &err.to_string(), hint)
}
