//! `ctx(kind, f1, …, fn)`: the one encoding behind every hash, label and associated data.

use sha2::{Digest, Sha256};

/// Builds `lp("icehouse/v1/" + kind) ‖ lp(f1) ‖ … ‖ lp(fn)`.
pub struct Context(Vec<u8>);

impl Context {
    /// Starts a context of this kind.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        let mut own = Self(Vec::with_capacity(512));
        let name_len = "icehouse/v1/".len() + kind.len();
        own.length(name_len);
        own.0.extend_from_slice(b"icehouse/v1/");
        own.0.extend_from_slice(kind.as_bytes());
        own
    }

    // A field longer than 4 GiB cannot be made from bounded inputs; saturating would forge a length.
    fn length(&mut self, len: usize) {
        let len = u32::try_from(len).expect("every field is bounded far below 4 GiB");
        self.0.extend_from_slice(&len.to_be_bytes());
    }

    /// Adds raw bytes.
    #[must_use]
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.length(field.len());
        self.0.extend_from_slice(field);
        self
    }

    /// Adds text as UTF-8.
    #[must_use]
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Adds an integer as its eight big-endian bytes.
    #[must_use]
    pub fn number(self, field: u64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Adds each of several raw fields.
    #[must_use]
    pub fn each<'a>(self, fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        fields.into_iter().fold(self, Self::bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// `SHA-256` of the bytes: what an HSM gets, so that no user's name ends up in its log.
    #[must_use]
    pub fn digest(self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

/// `key id = first 16 bytes of SHA-256(ctx("key", vault_id, user, suite, u64(generation)))`.
#[must_use]
pub fn key_id(vault: &[u8; 16], user: &str, suite: &str, generation: u64) -> [u8; 16] {
    let digest = Context::new("key")
        .bytes(vault)
        .text(user)
        .text(suite)
        .number(generation)
        .digest();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

/// The first 64 bits of a hash, as the signed integer a database stores: a short way to a row.
#[must_use]
pub fn tag(identity: &[u8; 16]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&identity[..8]);
    i64::from_be_bytes(first)
}

/// The tag of a user in a vault.
#[must_use]
pub fn user_tag(vault: &[u8; 16], user: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(b"icehouse/user-tag")
        .chain_update(vault)
        .chain_update(user)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}
