//! What every strict JSON reader here needs: lower-case hex, bounded integers, fields that must be there.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// Integers on the wire stay below 2^53, so that every JSON reader keeps them whole.
pub const MAX_INTEGER: u64 = 1 << 53;

/// A field that may be null but must be there; serde would let an `Option` be missing.
pub(crate) fn required<'de, D, T>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)
}

/// A value that is written as a JSON object. Serde would read a struct from an array of its fields, too.
pub(crate) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct OnlyMaps<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer
            .deserialize_map(OnlyMaps(PhantomData))
            .map(Self)
    }
}

/// Reads one JSON object, and nothing after it.
pub(crate) fn read_object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> serde_json::Result<T> {
    serde_json::from_slice(json).map(|Object(value)| value)
}

/// A field that is an object.
pub(crate) fn object<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// A field that is an object or null, and must be there.
pub(crate) fn required_object<'de, D, T>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let found: Option<Object<T>> = Option::deserialize(deserializer)?;
    Ok(found.map(|Object(value)| value))
}

/// No key has more participants.
const MANY: usize = 255;

/// A field that is an array of objects, no more of them than a key has participants; the rest is not even read.
pub(crate) fn few<'de, D, T>(deserializer: D) -> std::result::Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Few<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of at most {MANY}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<T>, A::Error> {
            let mut kept = Vec::new();
            while let Some(item) = seq.next_element()? {
                if kept.len() == MANY {
                    return Err(A::Error::invalid_length(MANY + 1, &self));
                }
                let Object(item) = item;
                kept.push(item);
            }
            Ok(kept)
        }
    }
    deserializer.deserialize_seq(Few(PhantomData))
}

/// Where a JSON text stops making sense. Never its content: it may hold secrets.
pub(crate) fn place(error: &serde_json::Error) -> String {
    format!("at line {} column {}", error.line(), error.column())
}

/// Lower-case hex of exactly this many bytes.
pub fn unhex<const N: usize>(text: &str) -> Result<[u8; N]> {
    let bytes = unhex_of(text, N)?;
    bytes
        .try_into()
        .map_err(|_| Error::malformed(format!("expected {N} bytes in hex")))
}

/// The same for a length that is known only now; a text of another length is not looked at.
pub(crate) fn unhex_of(text: &str, bytes: usize) -> Result<Vec<u8>> {
    if text.len() != 2 * bytes {
        return Err(Error::malformed(format!("expected {bytes} bytes in hex")));
    }
    unhex_any(text)
}

/// Lower-case hex of any length.
pub fn unhex_any(text: &str) -> Result<Vec<u8>> {
    if text.bytes().any(|c| c.is_ascii_uppercase()) {
        return Err(Error::malformed("hex must be lower case"));
    }
    hex::decode(text).map_err(|_| Error::malformed("not hex"))
}
