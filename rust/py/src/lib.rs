//! The Python face of the core: a table of names.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

mod secret;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<secret::DataKey>()?;
    module.add_class::<secret::Node>()?;
    Ok(())
}
