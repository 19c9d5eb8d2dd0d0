//! The device's side, for Python: one opaque object that each step changes or leaves alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use icehouse_core::device as core;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::error::{fixed, OrPy};
use crate::group::{taproot, Group};
use crate::secret::{opaque, Passphrase};

opaque!(
    /// A signature under way: nonces that one answer consumes.
    Round, Mutex<Option<core::Round>>, {}
);

impl Round {
    fn of(round: core::Round) -> Self {
        Self(Mutex::new(Some(round)))
    }

    fn consume(&self) -> PyResult<core::Round> {
        let round = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        round.ok_or_else(|| {
            PyValueError::new_err("these nonces are used up: ask again with fresh ones")
        })
    }
}

opaque!(
    /// Everything one device keeps for one key.
    DeviceState, Mutex<core::Device>, {
        #[new]
        fn new(user: &str) -> PyResult<Self> {
            core::Device::new(user).or_py().map(|device| Self(Mutex::new(device)))
        }

        /// Decrypts a device file.
        #[staticmethod]
        fn from_file(py: Python<'_>, file: &[u8], passphrase: &Passphrase) -> PyResult<Self> {
            let device = py.detach(|| core::Device::from_file(file, &passphrase.0)).or_py()?;
            Ok(Self(Mutex::new(device)))
        }

        /// Encrypts everything under a passphrase; `work_factor` is log2 of scrypt's N.
        fn to_file<'py>(&self, py: Python<'py>, passphrase: &Passphrase, work_factor: u8) -> PyResult<Bound<'py, PyBytes>> {
            let file = py.detach(|| self.lock().to_file(&passphrase.0, work_factor)).or_py()?;
            Ok(PyBytes::new(py, &file))
        }

        /// Public facts: user, key, epoch, pending, requesting, proved, token.
        fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
            let device = self.lock();
            let facts = PyDict::new(py);
            facts.set_item("user", device.user())?;
            facts.set_item("key", device.key_id().map(|id| PyBytes::new(py, &id)))?;
            facts.set_item("epoch", device.epoch())?;
            facts.set_item("pending", device.pending_epoch())?;
            facts.set_item("proved", device.has_proof())?;
            facts.set_item("requesting", device.is_requesting())?;
            facts.set_item("token", device.has_token())?;
            Ok(facts)
        }

        /// The group at the current epoch.
        fn group(&self) -> Option<Group> {
            self.lock().group().cloned().map(Group)
        }

        fn take_token(&self, token: &str) -> PyResult<()> {
            self.lock().take_token(token).or_py()
        }

        fn reclaim(&self, by_code: bool) {
            self.lock().reclaim(by_code);
        }

        fn prepare(&self) -> bool {
            self.lock().prepare()
        }

        fn ask(&self) -> PyResult<String> {
            self.lock().ask().or_py()
        }

        fn accept_offer(&self, py: Python<'_>, answer: &str) -> PyResult<()> {
            py.detach(|| self.lock().accept_offer(answer)).or_py()
        }

        fn ask_proof(&self) -> PyResult<(Round, String)> {
            let (round, message) = self.lock().ask_proof().or_py()?;
            Ok((Round::of(round), message))
        }

        fn accept_proof(&self, py: Python<'_>, nonces: &Round, answer: &str) -> PyResult<()> {
            let round = nonces.consume()?;
            py.detach(|| self.lock().accept_proof(round, answer)).or_py()
        }

        fn ask_commit(&self) -> PyResult<String> {
            self.lock().ask_commit().or_py()
        }

        fn ask_committed(&self) -> PyResult<String> {
            self.lock().ask_committed().or_py()
        }

        fn accept_commit(&self, answer: &str) -> PyResult<()> {
            self.lock().accept_commit(answer).or_py()
        }

        #[pyo3(signature = (offer_id=None))]
        fn ask_abandon(&self, offer_id: Option<&[u8]>) -> PyResult<String> {
            let offer_id = offer_id.map(|id| fixed("offer id", id)).transpose()?;
            self.lock().ask_abandon(offer_id).or_py()
        }

        #[pyo3(signature = (offer_id, answer))]
        fn accept_abandoned(&self, offer_id: Option<&[u8]>, answer: &str) -> PyResult<()> {
            let offer_id = offer_id.map(|id| fixed("offer id", id)).transpose()?;
            self.lock().accept_abandoned(offer_id, answer).or_py()
        }

        fn ask_status(&self) -> PyResult<String> {
            self.lock().ask_status().or_py()
        }

        fn read_status<'py>(&self, py: Python<'py>, answer: &str) -> PyResult<(Option<Bound<'py, PyBytes>>, bool)> {
            let (offer_id, due) = self.lock().read_status(answer).or_py()?;
            Ok((offer_id.map(|id| PyBytes::new(py, &id)), due))
        }

        #[pyo3(signature = (message, taproot_root=None))]
        fn ask_signature(&self, message: &[u8], taproot_root: Option<&str>) -> PyResult<(Round, String)> {
            let device = self.lock();
            let taproot = match device.group() {
                Some(group) => taproot(taproot_root, group.suite())?,
                None => Default::default(),
            };
            let (round, text) = device.ask_signature(message.to_vec(), taproot).or_py()?;
            Ok((Round::of(round), text))
        }

        fn accept_signature<'py>(&self, py: Python<'py>, nonces: &Round, answer: &str) -> PyResult<Bound<'py, PyBytes>> {
            let round = nonces.consume()?;
            let signature = py.detach(|| self.lock().accept_signature(round, answer)).or_py()?;
            Ok(PyBytes::new(py, &signature))
        }
    }
);

impl DeviceState {
    fn lock(&self) -> MutexGuard<'_, core::Device> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
