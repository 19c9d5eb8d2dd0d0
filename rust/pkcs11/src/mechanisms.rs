//! The mechanisms that keys need, and which of them a module does not have.

use std::collections::BTreeMap;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::MechanismType;
use cryptoki::slot::Slot;

use crate::error::Error;
use crate::profile::{Gcm, Profile};
use crate::Kind;

/// A mechanism by its number and its name in the standard.
pub(crate) type Named = (MechanismType, &'static str);

pub(crate) const GCM: Named = (MechanismType::AES_GCM, "CKM_AES_GCM");
pub(crate) const HMAC: Named = (MechanismType::SHA512_HMAC, "CKM_SHA512_HMAC");
pub(crate) const ECDSA: Named = (MechanismType::ECDSA, "CKM_ECDSA");
pub(crate) const AES_KEY: Named = (MechanismType::AES_KEY_GEN, "CKM_AES_KEY_GEN");
pub(crate) const HMAC_KEY: Named = (
    MechanismType::GENERIC_SECRET_KEY_GEN,
    "CKM_GENERIC_SECRET_KEY_GEN",
);
pub(crate) const EC_KEYS: Named = (MechanismType::ECC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN");

/// What makes a key of a kind, and what uses it.
fn needed(kind: Kind, profile: &Profile) -> Vec<Named> {
    match kind {
        // A vendor's own mechanism need not be in the list.
        Kind::Aes if matches!(profile.gcm, Gcm::Prepended(_)) => vec![AES_KEY],
        Kind::Aes => vec![AES_KEY, GCM],
        Kind::Hmac => vec![HMAC_KEY, HMAC],
        Kind::Ecdsa => vec![EC_KEYS, ECDSA],
    }
}

/// The mechanisms that a module does not list, by the kinds of key that need them.
#[derive(Debug, Clone, Default)]
pub struct Missing(BTreeMap<Kind, Vec<&'static str>>);

impl Missing {
    /// Asks the module's list. Where it cannot be asked, only doing it tells, and nothing counts as missing.
    pub(crate) fn of(context: &Pkcs11, slot: Slot, profile: &Profile) -> Self {
        match context.get_mechanism_list(slot) {
            Ok(listed) if !listed.is_empty() => Self::from(&listed, profile),
            _ => Self::default(),
        }
    }

    fn from(listed: &[MechanismType], profile: &Profile) -> Self {
        let lacks = |kind| {
            let names = needed(kind, profile)
                .into_iter()
                .filter(|(number, _)| !listed.contains(number));
            (kind, names.map(|(_, name)| name).collect())
        };
        Self(Kind::ALL.map(lacks).into())
    }

    /// What is missing for keys of a kind.
    #[must_use]
    pub fn for_kind(&self, kind: Kind) -> &[&'static str] {
        self.0.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Refuses a key of a kind that the module cannot serve.
    pub(crate) fn check(&self, kind: Kind, label: &str, library: &str) -> Result<(), Error> {
        match self.for_kind(kind) {
            [] => Ok(()),
            names => Err(absent(&names.join(" nor "), label, library)),
        }
    }
}

/// A mechanism that the module does not have, the key that needs it, and what can be done.
pub(crate) fn absent(name: &str, label: &str, library: &str) -> Error {
    let text = format!("the PKCS#11 module has no {name}, which the key '{label}' needs");
    Error::refused_with(text, remedy(library))
}

/// What to do about a mechanism that a library's module does not have.
#[must_use]
pub fn remedy(library: &str) -> &'static str {
    const REMEDIES: [(&str, &str); 3] = [
        (
            "PKCS#11 Kit",
            "p11-kit passes on only the mechanisms that it knows, AES-GCM from version 0.25 on: install a newer one on both \
             ends, or name the module behind it in module-path",
        ),
        (
            "IBM",
            "opencryptoki's tokens differ, and its soft token of Debian 12 has neither AES-GCM nor EC: use another token, or \
             a newer opencryptoki",
        ),
        (
            "tpm2",
            "a TPM has neither AES-GCM nor keys for HMAC-SHA512 of 64 bytes: use another module",
        ),
    ];
    REMEDIES
        .into_iter()
        .find(|(maker, _)| library.starts_with(maker))
        .map_or(
            "'icehouse doctor --hsm URI' says which custody the module can serve; its vendor, whether the mechanism can be \
             switched on",
            |(_, remedy)| remedy,
        )
}

#[cfg(test)]
#[path = "mechanisms_tests.rs"]
mod tests;
