//! The Python face of the core: a table of names.
#![forbid(unsafe_code)]

use pyo3::prelude::*;

mod batch;
mod carry;
mod derive;
mod device;
mod ecdsa;
mod error;
mod group;
mod message;
mod pkcs11;
mod secret;
mod software;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<secret::DataKey>()?;
    module.add_class::<secret::MacKey>()?;
    module.add_class::<secret::Node>()?;
    module.add_class::<secret::Passphrase>()?;
    module.add_class::<secret::Share>()?;
    module.add_class::<group::Group>()?;
    module.add_class::<group::Row>()?;
    module.add_class::<message::Envelope>()?;
    module.add_class::<message::Request>()?;
    module.add_class::<device::DeviceState>()?;
    module.add_class::<device::Round>()?;
    module.add_function(wrap_pyfunction!(batch::check_page, module)?)?;
    module.add_function(wrap_pyfunction!(batch::deal, module)?)?;
    module.add_function(wrap_pyfunction!(batch::deal_page, module)?)?;
    module.add_function(wrap_pyfunction!(derive::bucket, module)?)?;
    module.add_function(wrap_pyfunction!(derive::derive, module)?)?;
    module.add_function(wrap_pyfunction!(derive::derive_page, module)?)?;
    module.add_function(wrap_pyfunction!(derive::derive_share, module)?)?;
    module.add_function(wrap_pyfunction!(derive::node_message, module)?)?;
    module.add_function(wrap_pyfunction!(batch::user_tags, module)?)?;
    module.add_function(wrap_pyfunction!(ecdsa::ecdsa_point, module)?)?;
    module.add_function(wrap_pyfunction!(ecdsa::ecdsa_raw_signature, module)?)?;
    module.add_function(wrap_pyfunction!(ecdsa::ecdsa_verifies, module)?)?;
    module.add_function(wrap_pyfunction!(group::context_digest, module)?)?;
    module.add_function(wrap_pyfunction!(group::key_id, module)?)?;
    module.add_function(wrap_pyfunction!(group::rotate, module)?)?;
    module.add_function(wrap_pyfunction!(group::verify, module)?)?;
    module.add_function(wrap_pyfunction!(message::bare_refusal, module)?)?;
    module.add_function(wrap_pyfunction!(message::elements_decoded, module)?)?;
    module.add_function(wrap_pyfunction!(message::max_message_bytes, module)?)?;
    module.add_class::<pkcs11::Pkcs11Token>()?;
    module.add_class::<software::SoftwareToken>()?;
    module.add_function(wrap_pyfunction!(carry::new_data_key, module)?)?;
    module.add_function(wrap_pyfunction!(carry::data_key_from_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(carry::data_key_to_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(carry::node_from_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(carry::same_secret, module)?)?;
    Ok(())
}
