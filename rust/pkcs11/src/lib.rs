//! Root keys on any PKCS#11 token.
