//! A PKCS#11 token as Python sees it. Every call into the module lets other Python threads run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use icehouse_pkcs11::{Config, Error, Kind, PinSource, Result, Token};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::raise;
use crate::secret::{DataKey, Node};

/// One token of one PKCS#11 module, logged in. It belongs to the process that opened it.
#[pyclass(frozen, module = "icehouse._core")]
pub struct Pkcs11Token(Token);

#[pymethods]
impl Pkcs11Token {
    #[new]
    #[pyo3(signature = (module_path, pin_file, *, module_arguments=None, token=None, serial=None, manufacturer=None, model=None, slot_id=None, profile=None))]
    #[allow(clippy::too_many_arguments)] // what a URI can say of a token
    fn new(
        py: Python<'_>,
        module_path: PathBuf,
        pin_file: Option<PathBuf>,
        module_arguments: Option<String>,
        token: Option<String>,
        serial: Option<String>,
        manufacturer: Option<String>,
        model: Option<String>,
        slot_id: Option<u64>,
        profile: Option<String>,
    ) -> PyResult<Self> {
        let config = Config {
            module_path,
            module_arguments,
            pin: pin_file.map_or(PinSource::Empty, PinSource::File),
            token,
            serial,
            manufacturer,
            model,
            slot_id,
            profile,
        };
        outside(py, || Token::open(config)).map(Self)
    }

    /// The name of the profile that it is used with.
    #[getter]
    fn profile(&self) -> &'static str {
        self.0.info().profile.name
    }

    /// The token's manufacturer and model.
    #[getter]
    fn model(&self) -> String {
        let info = self.0.info();
        format!("{} {}", info.manufacturer, info.model)
            .trim()
            .to_owned()
    }

    /// Whether the module calls the token's slot hardware.
    #[getter]
    fn hardware(&self) -> bool {
        self.0.info().hardware
    }

    /// How many keys fit, where the vendor says so.
    #[getter]
    fn capacity(&self) -> Option<u64> {
        self.0.info().profile.capacity
    }

    /// The most bytes that one wrapping takes, context included, where the vendor says so.
    #[getter]
    fn max_wrap_bytes(&self) -> Option<u64> {
        self.0.info().profile.max_wrap_bytes
    }

    /// The mechanisms that the module lacks, by the kinds of key that need them.
    #[getter]
    fn missing_mechanisms(&self) -> BTreeMap<String, Vec<&'static str>> {
        let missing = self.0.info().missing;
        let of = |kind: Kind| (kind.to_string(), missing.for_kind(kind).to_vec());
        Kind::ALL.map(of).into()
    }

    /// What to do about a mechanism that is missing.
    #[getter]
    fn remedy(&self) -> &'static str {
        self.0.info().remedy
    }

    fn create_key(&self, py: Python<'_>, label: &str, kind: &str) -> PyResult<()> {
        let kind = named(kind)?;
        outside(py, || self.0.create_key(label, kind))
    }

    fn destroy_key(&self, py: Python<'_>, label: &str, kind: &str) -> PyResult<()> {
        let kind = named(kind)?;
        outside(py, || self.0.destroy_key(label, kind))
    }

    fn keys(&self, py: Python<'_>, prefix: &str) -> PyResult<Vec<(String, String)>> {
        let keys = outside(py, || self.0.keys(prefix))?;
        Ok(keys
            .into_iter()
            .map(|(label, kind)| (label, kind.to_string()))
            .collect())
    }

    fn wrap<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        secret: &DataKey,
        context: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let wrapped = outside(py, || self.0.wrap(label, &secret.0, context))?;
        Ok(PyBytes::new(py, &wrapped))
    }

    fn unwrap(
        &self,
        py: Python<'_>,
        label: &str,
        wrapped: &[u8],
        context: &[u8],
    ) -> PyResult<DataKey> {
        outside(py, || self.0.unwrap(label, wrapped, context)).map(DataKey)
    }

    fn mac(&self, py: Python<'_>, label: &str, message: &[u8]) -> PyResult<Node> {
        outside(py, || self.0.mac(label, message)).map(Node)
    }

    fn sign<'py>(
        &self,
        py: Python<'py>,
        label: &str,
        digest: [u8; 32],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let signature = outside(py, || self.0.sign(label, &digest))?;
        Ok(PyBytes::new(py, &signature))
    }

    fn public_key<'py>(&self, py: Python<'py>, label: &str) -> PyResult<Bound<'py, PyBytes>> {
        let point = outside(py, || self.0.public_key(label))?;
        Ok(PyBytes::new(py, &point))
    }

    /// The attributes on which trust in a key rests, as the token tells them.
    fn attributes(&self, py: Python<'_>, label: &str) -> PyResult<BTreeMap<&'static str, bool>> {
        outside(py, || self.0.attributes(label))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

fn outside<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(raised)
}

fn named(kind: &str) -> PyResult<Kind> {
    match kind {
        "aes" => Ok(Kind::Aes),
        "hmac" => Ok(Kind::Hmac),
        "ecdsa" => Ok(Kind::Ecdsa),
        other => {
            let text = format!("kind must be one of aes, hmac, ecdsa, not {other:?}");
            Err(raise("RequestError", &text, None))
        }
    }
}

fn raised(err: Error) -> PyErr {
    let text = err.to_string();
    match err {
        Error::Unavailable(_) => raise("HsmUnavailableError", &text, None),
        Error::Refused { hint, .. } => raise("HsmRefusedError", &text, hint),
        Error::Seal(_) => raise("SealError", &text, None),
        Error::Request { hint, .. } => raise("RequestError", &text, hint),
    }
}
