//! Secrets as Python sees them: redacted, unpicklable, incomparable.

use icehouse_core::secret as core;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

macro_rules! opaque {
    ($name:ident, $inner:path) => {
        #[doc = concat!("An opaque `", stringify!($name), "`: it shows nothing, compares with nothing and cannot be pickled.")]
        #[pyclass(frozen, module = "icehouse._core")]
        pub struct $name(pub $inner);

        #[pymethods]
        impl $name {
            fn __repr__(&self) -> &'static str {
                concat!(stringify!($name), "(<redacted>)")
            }

            fn __reduce__(&self) -> PyResult<()> {
                Err(PyTypeError::new_err(concat!(stringify!($name), " cannot be pickled: it is a secret")))
            }

            fn __richcmp__(&self, _other: &Bound<'_, PyAny>, _op: pyo3::pyclass::CompareOp) -> PyResult<bool> {
                Err(PyTypeError::new_err(concat!(stringify!($name), " cannot be compared: it is a secret")))
            }

            fn __hash__(&self) -> PyResult<isize> {
                Err(PyTypeError::new_err(concat!(stringify!($name), " cannot be hashed: it is a secret")))
            }
        }
    };
}
pub(crate) use opaque;

opaque!(DataKey, core::DataKey);
opaque!(Node, core::Node);
opaque!(MacKey, core::MacKey);
