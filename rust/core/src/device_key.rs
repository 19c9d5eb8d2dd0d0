//! The device's X25519 key, made for one offer.

use curve25519_dalek::{MontgomeryPoint, Scalar};

use crate::error::{Error, Result};
use crate::secret::DeviceSecret;

/// Refuses X25519 keys that are not canonical or of low order.
pub fn check_device_key(key: &[u8; 32]) -> Result<()> {
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let below_p = key.iter().rev().lt(p.iter().rev());
    let times_eight = MontgomeryPoint(*key) * Scalar::from(8u64);
    if below_p && times_eight.to_bytes() != [0; 32] {
        return Ok(());
    }
    Err(Error::malformed(
        "the device key is no X25519 key of full order",
    ))
}

/// A fresh X25519 key for one offer.
#[must_use]
pub fn device_secret() -> DeviceSecret {
    DeviceSecret::random()
}

/// The public half of a device's key.
#[must_use]
pub fn device_key(secret: &DeviceSecret) -> [u8; 32] {
    MontgomeryPoint::mul_base_clamped(*secret.expose()).to_bytes()
}
