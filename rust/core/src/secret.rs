//! Secrets as values: redacted, wiped on drop, compared in constant time only.

use std::fmt;

use rand_core::{OsRng, RngCore};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::{Error, Result};

macro_rules! fixed_secret {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name(Box<[u8; $len]>);

        impl $name {
            /// Fresh random bytes from the operating system.
            #[must_use]
            pub fn random() -> Self {
                let mut bytes = Box::new([0u8; $len]);
                OsRng.fill_bytes(bytes.as_mut());
                Self(bytes)
            }

            /// Takes exactly this many bytes; the caller's copy is the caller's to wipe.
            pub fn from_slice(bytes: &[u8]) -> Result<Self> {
                let mut own = Box::new([0u8; $len]);
                if bytes.len() != $len {
                    return Err(Error::malformed(format!(
                        concat!(stringify!($name), " must be {} bytes, not {}"), $len, bytes.len()
                    )));
                }
                own.copy_from_slice(bytes);
                Ok(Self(own))
            }

            /// The bytes, for the one place that needs them.
            #[must_use]
            pub fn expose(&self) -> &[u8; $len] {
                &self.0
            }

            /// Equality in constant time.
            #[must_use]
            pub fn same_as(&self, other: &Self) -> bool {
                self.0.ct_eq(other.0.as_ref()).into()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(<redacted>)"))
            }
        }
    };
}

fixed_secret!(
    /// An AES-256 key under which records are sealed; wrapped by a root key when at rest.
    DataKey, 32
);
fixed_secret!(
    /// The key that authenticates messages: an enrolment code or a channel key.
    MacKey, 32
);
fixed_secret!(
    /// The 64 bytes of an HMAC-SHA512 made inside an HSM.
    Node, 64
);
fixed_secret!(
    /// An X25519 private key made for one offer.
    DeviceSecret, 32
);

/// A string only ever read where it is used: a PIN or a passphrase.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the text over; it is wiped when the value goes.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(<redacted>)")
    }
}
