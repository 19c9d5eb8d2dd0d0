//! The Python face of the core: a table of names.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

mod carry;
mod error;
mod pkcs11;
mod secret;
mod software;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<secret::DataKey>()?;
    module.add_class::<secret::Node>()?;
    module.add_class::<pkcs11::Pkcs11Token>()?;
    module.add_class::<software::SoftwareToken>()?;
    module.add_function(wrap_pyfunction!(carry::new_data_key, module)?)?;
    module.add_function(wrap_pyfunction!(carry::data_key_from_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(carry::data_key_to_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(carry::node_from_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(carry::same_secret, module)?)?;
    Ok(())
}
