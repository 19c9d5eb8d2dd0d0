//! What a login tells about a token.

use cryptoki::slot::TokenInfo;

use crate::mechanisms::Missing;
use crate::profile::Profile;

/// What a login told about the token.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub profile: &'static Profile,
    pub info: TokenInfo,
    pub hardware: bool,
    /// The mechanisms that the module does not have, by the kinds of key that need them.
    pub missing: Missing,
    /// Who made the library.
    pub library: String,
}
