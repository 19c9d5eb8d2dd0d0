//! The cryptographic core of icehouse. It knows no Python, no database and no HSM.
#![forbid(unsafe_code)]

pub mod error;
pub mod secret;

pub use error::{Error, Result};
