//! Secrets as Python sees them: redacted, unpicklable, incomparable.

use icehouse_core::derive;
use icehouse_core::polynomial as poly;
use icehouse_core::seal;
use icehouse_core::secret as core;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{fixed, OrPy};
use crate::group::Group;

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $inner:ty, { $($methods:tt)* }) => {
        $(#[$doc])*
        #[pyclass(frozen, module = "icehouse._core")]
        pub struct $name(pub $inner);

        #[pymethods]
        impl $name {
            fn __repr__(&self) -> &'static str {
                concat!(stringify!($name), "(<redacted>)")
            }

            fn __reduce__(&self) -> PyResult<()> {
                Err(pyo3::exceptions::PyTypeError::new_err(concat!(stringify!($name), " cannot be pickled: it is a secret")))
            }

            fn __richcmp__(&self, _other: &Bound<'_, PyAny>, _op: pyo3::pyclass::CompareOp) -> PyResult<bool> {
                Err(pyo3::exceptions::PyTypeError::new_err(concat!(stringify!($name), " cannot be compared: it is a secret")))
            }

            fn __hash__(&self) -> PyResult<isize> {
                Err(pyo3::exceptions::PyTypeError::new_err(concat!(stringify!($name), " cannot be hashed: it is a secret")))
            }

            $($methods)*
        }
    };
}
pub(crate) use opaque;

opaque!(
    /// An AES-256 key under which records are sealed.
    DataKey, core::DataKey, {
        /// A fresh key from the operating system's randomness.
        #[staticmethod]
        fn random() -> Self {
            Self(core::DataKey::random())
        }

        /// The enrolment code of this salt (claim data keys only).
        fn enrolment_code(&self, vault: &[u8], key: &[u8], salt: &[u8]) -> PyResult<MacKey> {
            let (vault, key, salt) = (fixed("vault", vault)?, fixed("key", key)?, fixed("salt", salt)?);
            Ok(MacKey(seal::enrolment_code(&self.0, &vault, &key, &salt)))
        }
    }
);
opaque!(
    /// The 64 bytes of an HMAC-SHA512 made inside an HSM.
    Node, core::Node, {
        /// The enrolment code of this salt.
        fn enrolment_code(&self, vault: &[u8], key: &[u8], salt: &[u8]) -> PyResult<MacKey> {
            let (vault, key, salt) = (fixed("vault", vault)?, fixed("key", key)?, fixed("salt", salt)?);
            Ok(MacKey(derive::enrolment_code(&self.0, &vault, &key, &salt)))
        }

        /// The tag that binds a vault's settings where its only root key makes MACs.
        fn settings_tag<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
            PyBytes::new(py, &derive::settings_tag(&self.0))
        }
    }
);
opaque!(
    /// The key that authenticates messages: an enrolment code or a channel key.
    MacKey, core::MacKey, {
        /// The enrolment token of this code: the one form in which it leaves the vault.
        fn token(&self, key: &[u8]) -> PyResult<String> {
            let key: [u8; 16] = fixed("key", key)?;
            Ok(format!("{}.{}", hex::encode(key), hex::encode(self.0.expose())))
        }
    }
);
opaque!(
    /// A PIN or a passphrase.
    Passphrase, core::Passphrase, {
        #[new]
        fn new(text: String) -> Self {
            Self(core::Passphrase::new(text))
        }
    }
);
opaque!(
    /// The secret scalar of one participant.
    Share, poly::Share, {
        /// Raises unless this is the participant's share of the group.
        fn check(&self, py: Python<'_>, group: &Group, participant: u16) -> PyResult<()> {
            py.detach(|| self.0.check(&group.0, participant)).or_py()
        }

        /// This share plus a difference.
        fn plus(&self, difference: &Share) -> PyResult<Self> {
            self.0.plus(&difference.0).or_py().map(Self)
        }

        /// What to add to `start` to get this share.
        fn minus(&self, start: &Share) -> PyResult<Self> {
            derive::difference(&start.0, &self.0).or_py().map(Self)
        }

        /// The channel key of `epoch` that this (server's) share has in common with the device.
        fn channel_key(&self, group: &Group, device: u16, epoch: u64) -> MacKey {
            MacKey(seal::channel_key(&self.0, &group.0, device, epoch))
        }
    }
);
