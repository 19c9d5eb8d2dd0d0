//! The cryptographic core of icehouse. It knows no Python, no database and no HSM.
//!
//! Nonces are values that a signature share consumes; a second use does not compile:
//!
//! ```compile_fail,E0382
//! use icehouse_core::{group::Group, polynomial::Share, round_two};
//! fn twice(nonces: round_two::Nonces, share: &Share, group: &Group, request: &round_two::Request<'_>) {
//!     let _ = round_two::sign(nonces, share, group, request);
//!     let _ = round_two::sign(nonces, share, group, request);
//! }
//! ```
//!
//! while a single one does:
//!
//! ```
//! use icehouse_core::{group::Group, polynomial::Share, round_two};
//! fn once(nonces: round_two::Nonces, share: &Share, group: &Group, request: &round_two::Request<'_>) {
//!     let _ = round_two::sign(nonces, share, group, request);
//! }
//! ```
#![forbid(unsafe_code)]

pub mod answer;
pub mod commitment;
pub mod context;
mod cores;
mod curve;
pub mod derive;
pub mod derived_page;
pub mod device;
pub mod device_file;
pub mod device_key;
pub mod ecdsa;
pub mod error;
pub mod group;
mod group_json;
pub mod kid;
pub mod message;
pub mod offer;
pub mod page;
pub mod passphrase;
pub mod pin;
pub mod point;
pub mod polynomial;
pub mod request;
pub mod rotate;
pub mod round_two;
pub mod seal;
pub mod secret;
pub mod sign;
pub mod software;
pub mod suite;
pub mod wire;

pub use error::{Error, Result};

#[cfg(test)]
mod dealing_tests;
#[cfg(test)]
mod decoding_tests;
#[cfg(test)]
mod device_file_tests;
#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod flood_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod offer_tests;
#[cfg(test)]
mod payload_tests;
#[cfg(test)]
mod rfc9591_tests;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod seal_tests;
