//! Bodies of the routes that change policies and identities: those of releases up to 2023-08 (http-api 9.2).

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::go_json::{Body, write_plain};
use super::request::{self, Malformed, Request};

/// `POST /v1/policy/write/<name>`: the rules of a policy.
///
/// Patterns are read as an array, as releases of the time wrote them, or as the members of an object, as
/// `/v1/policy/read/` shows them today. Compat: releases up to v0.14 had `paths` for `allow`; it is read if there is no
/// `allow`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PolicyRequest {
    /// Allowing patterns.
    pub allow: Vec<String>,
    /// Denying patterns.
    pub deny: Vec<String>,
}

impl PolicyRequest {
    /// Reads the body, or a policy file of any age.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let PolicyMembers { allow, deny, paths } = request::decode(body)?;
        Ok(Self { allow: allow.unwrap_or(paths), deny })
    }
}

/// All spellings, as they stood in the body.
#[derive(Default)]
struct PolicyMembers {
    allow: Option<Vec<String>>,
    deny: Vec<String>,
    paths: Vec<String>,
}

impl Body for PolicyRequest {
    fn write(&self, out: &mut Vec<u8>) {
        write_plain(self, out);
    }
}

impl Request for PolicyMembers {
    const MEMBERS: &'static [&'static str] = &["allow", "deny", "paths"];

    fn read<'de, A: MapAccess<'de>>(&mut self, index: usize, map: &mut A) -> Result<(), A::Error> {
        let patterns = map.next_value_seed(Patterns)?;
        match index {
            0 => self.allow = Some(patterns),
            1 => self.deny = patterns,
            _ => self.paths = patterns,
        }
        Ok(())
    }
}

/// `POST /v1/policy/assign/<policy>`: who gets the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AssignRequest {
    /// The identity.
    pub identity: String,
}

impl Body for AssignRequest {
    fn write(&self, out: &mut Vec<u8>) {
        write_plain(self, out);
    }
}

impl Request for AssignRequest {
    const MEMBERS: &'static [&'static str] = &["identity"];

    fn read<'de, A: MapAccess<'de>>(&mut self, _index: usize, map: &mut A) -> Result<(), A::Error> {
        self.identity = request::text(map)?;
        Ok(())
    }
}

/// An array of patterns, an object whose members are named so, or `null`.
struct Patterns;

impl<'de> DeserializeSeed<'de> for Patterns {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Patterns {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("patterns")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut patterns = Vec::new();
        while let Some(pattern) = list.next_element::<String>()? {
            patterns.push(pattern);
        }
        Ok(patterns)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut patterns = Vec::new();
        while let Some((pattern, _)) = map.next_entry::<String, IgnoredAny>()? {
            patterns.push(pattern);
        }
        Ok(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;

    fn rules(body: &str) -> Result<(Vec<String>, Vec<String>), Malformed> {
        PolicyRequest::decode(body.as_bytes()).map(|request| (request.allow, request.deny))
    }

    #[test]
    fn policies_of_all_ages_are_read() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (body, allow, deny) in [
            (r#"{"allow":["a","b"],"deny":["c"]}"#, &["a", "b"][..], &["c"][..]),
            (r#"{"Allow":["a"],"deny":null}"#, &["a"], &[]),
            (r#"{"allow":{"a":{},"b":{}},"deny":{"c":{}},"created_at":"2026"}"#, &["a", "b"], &["c"]),
            (r#"{"paths":["a"]}"#, &["a"], &[]),
            (r#"{"paths":["a"],"allow":["b"]}"#, &["b"], &[]),
            (r#"{"allow":["b"],"paths":["a"]}"#, &["b"], &[]),
            ("{}", &[], &[]),
            ("null", &[], &[]),
        ] {
            assert_eq!(rules(body), Ok((texts(allow), texts(deny))), "{body}");
        }
        for body in ["", "[]", r#"{"allow":"a"}"#, r#"{"allow":[1]}"#, r#"{"deny":7}"#, r#"{"allow":[null]}"#, "{"] {
            assert_eq!(rules(body), Err(Malformed), "{body}");
        }
    }

    #[test]
    fn what_a_client_writes_is_the_old_form() {
        let policy = PolicyRequest { allow: vec!["/v1/status".to_owned()], deny: Vec::new() };
        assert_eq!(encode(&policy), b"{\"allow\":[\"/v1/status\"],\"deny\":[]}\n");
        let assign = AssignRequest { identity: "abc".to_owned() };
        assert_eq!(encode(&assign), b"{\"identity\":\"abc\"}\n");
        assert_eq!(decode::<AssignRequest>(&encode(&assign)), Ok(assign));
        assert_eq!(decode::<AssignRequest>(b"{\"identity\":1}"), Err(Malformed));
    }
}
