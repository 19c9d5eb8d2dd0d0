//! The cryptographic core of icehouse. It knows no Python, no database and no HSM.
#![forbid(unsafe_code)]

pub mod answer;
pub mod context;
mod curve;
pub mod device;
pub mod device_file;
pub mod element;
pub mod error;
pub mod group;
pub mod message;
pub mod offer;
pub mod page;
pub mod passphrase;
pub mod pin;
pub mod polynomial;
pub mod rotate;
pub mod seal;
pub mod secret;
pub mod sign;
pub mod software;
pub mod suite;
pub mod wire;

pub use error::{Error, Result};

#[cfg(test)]
mod rfc9591_tests;
