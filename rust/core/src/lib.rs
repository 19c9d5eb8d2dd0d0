//! The cryptographic core of icehouse. It knows no Python, no database and no HSM.
#![forbid(unsafe_code)]

pub mod error;
pub mod pin;
pub mod secret;
pub mod software;

pub use error::{Error, Result};
