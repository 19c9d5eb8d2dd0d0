//! Messages and their answers, for Python.

use icehouse_core::answer::{self, Answer};
use icehouse_core::message::{self, is_reserved};
use icehouse_core::{offer, request, round_two, Error};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{fixed, OrPy};
use crate::group::Group;
use crate::secret::{MacKey, Share};

/// A message whose form and header are right; read it with the key it must be authenticated by.
#[pyclass(frozen, module = "icehouse._core")]
pub struct Envelope(message::Envelope);

impl Envelope {
    fn answer(&self, py: Python<'_>, key: &MacKey, answer: &Answer) -> String {
        self.compact(py, key, &answer.write(&self.0.kid))
    }

    fn compact(&self, py: Python<'_>, key: &MacKey, payload: &[u8]) -> String {
        py.detach(|| message::compact(&self.0.kid, payload, &key.0))
    }
}

#[pymethods]
impl Envelope {
    /// Parses the three parts; raises `ProtocolError`.
    #[new]
    fn parse(py: Python<'_>, compact: &str) -> PyResult<Self> {
        py.detach(|| message::Envelope::parse(compact))
            .or_py()
            .map(Self)
    }

    #[getter]
    fn key_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.kid.key)
    }

    #[getter]
    fn epoch(&self) -> u64 {
        self.0.kid.epoch
    }

    /// The payload's bytes, or None where the MAC is not this key's.
    fn authenticate<'py>(
        &self,
        py: Python<'py>,
        key: &MacKey,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match py.detach(|| self.0.payload(&key.0)) {
            Ok(payload) => Ok(Some(PyBytes::new(py, &payload))),
            Err(Error::BadMac) => Ok(None),
            Err(other) => Err(crate::error::to_py(other)),
        }
    }

    /// Reads an authenticated payload; raises `ProtocolError`.
    fn read(&self, py: Python<'_>, payload: &[u8], group: &Group) -> PyResult<Request> {
        py.detach(|| request::read_request(payload, &self.0.kid, &group.0))
            .or_py()
            .map(Request)
    }

    /// The answer that carries an offer.
    fn offer(&self, py: Python<'_>, key: &MacKey, payload: &[u8]) -> String {
        self.compact(py, key, payload)
    }

    /// The answer `committed`.
    fn committed(&self, py: Python<'_>, key: &MacKey, offer_id: &[u8]) -> PyResult<String> {
        let offer_id = fixed("offer id", offer_id)?;
        Ok(self.answer(py, key, &Answer::Committed { offer_id }))
    }

    /// The answer `abandoned`.
    fn abandoned(&self, py: Python<'_>, key: &MacKey, offer_id: &[u8]) -> PyResult<String> {
        let offer_id = fixed("offer id", offer_id)?;
        Ok(self.answer(py, key, &Answer::Abandoned { offer_id }))
    }

    /// The answer `state`.
    #[pyo3(signature = (key, offer_id, due))]
    fn state(
        &self,
        py: Python<'_>,
        key: &MacKey,
        offer_id: Option<&[u8]>,
        due: bool,
    ) -> PyResult<String> {
        let offer_id = offer_id.map(|id| fixed("offer id", id)).transpose()?;
        Ok(self.answer(py, key, &Answer::State { offer_id, due }))
    }

    /// An authenticated refusal.
    fn refused(&self, py: Python<'_>, key: &MacKey, reason: &str) -> String {
        self.compact(py, key, &answer::refusal(&self.0.kid, reason))
    }

    /// The cosigner's half of the signature asked for, with fresh hedged nonces.
    fn cosigned(
        &self,
        py: Python<'_>,
        key: &MacKey,
        request: &Request,
        share: &Share,
        group: &Group,
        participant: u16,
    ) -> PyResult<String> {
        let request::Request::Cosign(asked) = &request.0 else {
            return Err(pyo3::exceptions::PyValueError::new_err(
                "only a cosign request is cosigned",
            ));
        };
        let (commitment, share) = py
            .detach(|| {
                round_two::cosign(
                    &share.0,
                    &group.0,
                    participant,
                    asked,
                    self.0.compact().as_bytes(),
                )
            })
            .or_py()?;
        Ok(self.answer(py, key, &Answer::Cosigned { commitment, share }))
    }

    /// Seals an offer to the device key of this message; the payload to store and to answer with.
    #[allow(clippy::too_many_arguments)]
    fn write_offer<'py>(
        &self,
        py: Python<'py>,
        key: &MacKey,
        group: &Group,
        difference: bool,
        device_key: &[u8],
        offer_id: &[u8],
        share: &Share,
        channel: &MacKey,
        expires: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let terms = offer::Terms {
            group: &group.0,
            kind: if difference {
                offer::Kind::Difference
            } else {
                offer::Kind::Share
            },
            participant: 1,
            device_key: fixed("device key", device_key)?,
            offer_id: fixed("offer id", offer_id)?,
        };
        let half = offer::Half {
            share: share.0.clone(),
            channel: channel.0.clone(),
            escrow: Vec::new(),
        };
        let payload = py
            .detach(|| offer::write_offer(&terms, &half, &key.0, &self.0.kid, expires))
            .or_py()?;
        Ok(PyBytes::new(py, &payload))
    }
}

/// What a device asks of its cosigner.
#[pyclass(frozen, module = "icehouse._core")]
pub struct Request(request::Request);

#[pymethods]
impl Request {
    /// `claim`, `rotate`, `cosign`, `prove`, `abandon` or `status`.
    #[getter]
    fn r#type(&self) -> &'static str {
        match self.0 {
            request::Request::Claim { .. } => "claim",
            request::Request::Rotate { .. } => "rotate",
            request::Request::Cosign(_) => "cosign",
            request::Request::Prove { .. } => "prove",
            request::Request::Abandon { .. } => "abandon",
            request::Request::Status => "status",
        }
    }

    #[getter]
    fn device_key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.0 {
            request::Request::Claim { device_key } | request::Request::Rotate { device_key } => {
                Some(PyBytes::new(py, device_key))
            }
            _ => None,
        }
    }

    #[getter]
    fn offer_id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.0 {
            request::Request::Prove { offer_id, .. } | request::Request::Abandon { offer_id } => {
                Some(PyBytes::new(py, offer_id))
            }
            _ => None,
        }
    }

    #[getter]
    fn signature<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.0 {
            request::Request::Prove { signature, .. } => Some(PyBytes::new(py, signature)),
            _ => None,
        }
    }

    /// Whether a cosign request is for a proof rather than for a signature.
    #[getter]
    fn proof(&self) -> bool {
        matches!(&self.0, request::Request::Cosign(asked) if asked.proof)
    }

    /// The message to sign.
    #[getter]
    fn message<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.0 {
            request::Request::Cosign(asked) => Some(PyBytes::new(py, &asked.message)),
            _ => None,
        }
    }

    /// Whether the message looks like one of icehouse's own proofs.
    #[getter]
    fn reserved(&self) -> bool {
        matches!(&self.0, request::Request::Cosign(asked) if is_reserved(&asked.message))
    }
}

/// How many curve elements this thread has decoded so far: what a message costs, counted.
#[pyfunction]
pub fn elements_decoded() -> u64 {
    icehouse_core::suite::elements_decoded()
}

/// The length in bytes above which a message is not looked at.
#[pyfunction]
pub fn max_message_bytes() -> usize {
    message::MAX_COMPACT
}

/// A bare, unauthenticated refusal.
#[pyfunction]
pub fn bare_refusal(reason: &str) -> String {
    answer::bare_refusal(reason)
}
