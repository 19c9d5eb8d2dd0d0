//! Where a key is on a token, for as long as a login lasts.

use cryptoki::object::ObjectHandle;

/// A key's handle, good for one login only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handle {
    pub object: ObjectHandle,
    pub kind: crate::Kind,
}
