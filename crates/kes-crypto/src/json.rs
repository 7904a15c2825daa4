//! JSON objects, read as leniently as the Go decoder that stored data may rely on.
//!
//! Member names match without regard to case, unknown members are skipped, and of duplicates the last wins. `null`
//! leaves a member as it was. The text must be exactly one object, with white space around it at most.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What stands under one name.
#[derive(Debug)]
pub(crate) enum Member<'a> {
    /// Nothing, or `null`.
    Absent,
    Text(Cow<'a, str>),
    /// A value that is no string.
    Other,
}

impl Member<'_> {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads the named members of an object, in the order of `names`.
pub(crate) fn members<'a, const N: usize>(
    text: &'a [u8],
    names: [&'static str; N],
) -> Result<[Member<'a>; N], serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let members = reader.deserialize_map(Object(names))?;
    reader.end()?;
    Ok(members)
}

struct Object<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Object<N> {
    type Value = [Member<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [const { Member::Absent }; N];
        while let Some(index) = map.next_key_seed(Name(&self.0))? {
            match index {
                Some(index) => match map.next_value_seed(Value)? {
                    Member::Absent => {}
                    member => members[index] = member,
                },
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

/// A member's name, as its index among the wanted ones. Read as bytes: a foreign name need not be UTF-8.
struct Name<'a>(&'a [&'static str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E: serde::de::Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| same_name(name, wanted)))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        self.visit_bytes(name.as_bytes())
    }
}

/// Compares as Go folds case: besides the ASCII pairs, `ſ` is an `s` and the Kelvin sign a `k`. `wanted` is lower case.
fn same_name(name: &[u8], wanted: &str) -> bool {
    if name.is_ascii() {
        return name.eq_ignore_ascii_case(wanted.as_bytes());
    }
    let Ok(name) = str::from_utf8(name) else { return false };
    let fold = |c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(wanted.chars())
}

struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Member<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(Member::Absent)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_key_seed(Name(&[]))?.is_some() {
            map.next_value::<IgnoredAny>().map_err(A::Error::custom)?;
        }
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<[Option<String>; 2]> {
        let members = members(text.as_bytes(), ["bytes", "key"]).ok()?;
        Some(members.map(|member| match member {
            Member::Absent => None,
            Member::Text(text) => Some(text.into_owned()),
            Member::Other => Some("other".to_owned()),
        }))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn reads_as_leniently_as_go() {
        assert_eq!(read(r#" {"bytes":"a","key":"b"} "#), Some([some("a"), some("b")]));
        assert_eq!(read(r#"{"BYTES":"a","x":{"bytes":["z"]}}"#), Some([some("a"), None]));
        assert_eq!(read("{\"byte\u{17f}\":\"a\",\"\u{212a}ey\":\"b\"}"), Some([some("a"), some("b")]));
        assert_eq!(read(r#"{"bytes":"a","Bytes":"b"}"#), Some([some("b"), None]));
        assert_eq!(read(r#"{"bytes":"a","bytes":null}"#), Some([some("a"), None]));
        assert_eq!(read(r#"{"bytes":1,"key":{"a":[{}]}}"#), Some([some("other"), some("other")]));
        assert_eq!(read(r#"{"bytes":"\u0061\/"}"#), Some([some("a/"), None]));
    }

    #[test]
    fn foreign_members_may_be_odd() {
        assert!(members(b"{\"\xff\":\"\xff\",\"a\":\"\\ud800\",\"b\":1e999}", ["bytes"]).is_ok());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(members(deep.as_bytes(), ["bytes"]).is_ok());
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        for text in ["", "{", "[]", "\"bytes\"", "null", "1", "{} {}", "{}x", "{\"bytes\":}", "{\"a\":1,}", "{'a':1}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
