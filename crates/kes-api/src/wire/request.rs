//! Reading request bodies as leniently as the old server did (http-api 2.5).
//!
//! One JSON object; `null` counts as an empty one. Member names match without regard to case, of duplicates the last
//! wins, unknown members must merely be well-formed, and whatever follows the first value is ignored. Byte strings are
//! base64 as [`kes_crypto::base64`] reads it; absent or `null` means empty.
//!
//! Departs from upstream: nesting deeper than 127 and invalid UTF-8 in a known member are refused, and byte strings
//! given as arrays of numbers, an accident of the old decoder, are not read.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The body is not the JSON object that the route expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed request body")
    }
}

impl std::error::Error for Malformed {}

/// A request body that is a JSON object.
pub trait Request: Default {
    /// The members it knows, in lower case.
    const MEMBERS: &'static [&'static str];

    /// Reads the value of member number `index` of [`Self::MEMBERS`].
    ///
    /// # Errors
    /// The reader's, where the value has the wrong type.
    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error>;
}

/// Reads a request body.
///
/// # Errors
/// [`Malformed`].
pub fn decode<T: Request>(body: &[u8]) -> Result<T, Malformed> {
    let mut json = serde_json::Deserializer::from_slice(body);
    json.deserialize_any(ObjectVisitor(PhantomData)).map_err(|_| Malformed)
}

pub(super) struct ObjectVisitor<T>(pub(super) PhantomData<T>);

impl<'de, T: Request> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut request = T::default();
        while let Some(index) = map.next_key_seed(NameSeed(T::MEMBERS))? {
            match index {
                Some(index) => request.read(index, &mut map)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(request)
    }
}

impl<'de, T: Request> DeserializeSeed<'de> for ObjectVisitor<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A list of objects; `null` counts as an empty one.
pub(super) struct ListVisitor<T>(pub(super) PhantomData<T>);

impl<'de, T: Request> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(ObjectVisitor(PhantomData))? {
            values.push(value);
        }
        Ok(values)
    }
}

struct NameSeed(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|known| known.eq_ignore_ascii_case(name)))
    }
}

/// Reads a byte string; `null` is empty.
pub(super) fn bytes<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<u8>, A::Error> {
    map.next_value_seed(BytesSeed)
}

/// Reads a text; `null` is empty.
pub(super) fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<String, A::Error> {
    Ok(map.next_value::<Option<String>>()?.unwrap_or_default())
}

struct BytesSeed;

impl<'de> DeserializeSeed<'de> for BytesSeed {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for BytesSeed {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64 text")
    }

    fn visit_unit<E>(self) -> Result<Vec<u8>, E> {
        Ok(Vec::new())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        kes_crypto::base64::decode(text).map_err(E::custom)
    }
}

pub(super) fn list<T: Request>(body: &[u8]) -> Result<Vec<T>, Malformed> {
    let mut json = serde_json::Deserializer::from_slice(body);
    json.deserialize_any(ListVisitor(PhantomData)).map_err(|_: serde_json::Error| Malformed)
}

#[cfg(test)]
mod tests {
    use super::super::{EncryptRequest, GenerateRequest};
    use super::*;

    fn context(body: &str) -> Result<Vec<u8>, Malformed> {
        decode::<GenerateRequest>(body.as_bytes()).map(|request| request.context)
    }

    #[test]
    fn reads_what_the_old_server_read() {
        for (body, expected) in [
            ("{}", &b""[..]),
            ("null", b""),
            (" \n\t{\"context\":\"YQ==\"}", b"a"),
            ("{\"CONTEXT\":\"YQ==\"}", b"a"),
            ("{\"context\":\"YQ==\",\"context\":\"Yg==\"}", b"b"),
            ("{\"context\":\"YQ==\",\"context\":null}", b""),
            ("{\"context\":\"YQ==\"}garbage", b"a"),
            ("{\"context\":\"YQ==\"}{\"context\":\"Yg==\"}", b"a"),
            ("{\"x\":[1,{\"y\":null}],\"context\":\"Y\\nQ==\",\"version\":\"v1\"}", b"a"),
            ("{\"version\":null}", b""),
        ] {
            assert_eq!(context(body).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn refuses_what_the_old_server_refused() {
        for body in [
            "",
            " ",
            "[]",
            "\"x\"",
            "1",
            "true",
            "{",
            "{\"context\":\"YQ==\"",
            "\u{feff}{}",
            "{'context':''}",
            "{,}",
            "{\"context\":1}",
            "{\"context\":{}}",
            "{\"context\":true}",
            "{\"context\":\"YQ\"}",
            "{\"context\":\"-_==\"}",
            "{\"context\":\"!\",\"context\":\"YQ==\"}",
            "{\"version\":1}",
            "{\"x\":tru}",
            "{\"x\":NaN}",
            "{\"context\":[97]}",
            "{\"context\":\"YQ==\",}",
            "nul",
        ] {
            assert_eq!(context(body), Err(Malformed), "{body}");
        }
    }

    #[test]
    fn names_match_without_regard_to_case() {
        let request: EncryptRequest = decode(br#"{"PlainText":"YQ==","Context":"Yg=="}"#).expect("valid");
        assert_eq!((request.plaintext.expose(), &request.context[..]), (&b"a"[..], &b"b"[..]));
    }
}
