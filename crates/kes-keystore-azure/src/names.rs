//! Names of keys as names of secrets, and back.
//!
//! Key Vault has letters, digits and `-`, takes `my-key` and `My-Key` for the same, and permits 127 of them. A mapped name
//! is the name in small letters with `-` for `_`, then `-`, a mask, `-`: `My_Key` is `my-key-w-`. The mask has a bit for
//! each character, five to a letter or digit (RFC 4648, 6, in small letters), the first character highest, without the
//! zeros at its end; the bit tells a capital from a small letter, and `_` from `-`. No name of a key ends in `-`, so mapped
//! names are none that another key has verbatim.

use kes_keystore::KeyName;

use crate::config::Names;

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Names {
    /// The name of the secret; `None` if there can be none.
    pub(crate) fn secret(self, name: &KeyName) -> Option<String> {
        match self {
            Self::Strict => (!name.as_str().contains('_')).then(|| name.to_string()),
            Self::Map => Some(encode(name.as_str())),
        }
    }

    /// The name that the old server would have given to the secret, if that is another one and legal.
    pub(crate) fn verbatim(self, name: &KeyName) -> Option<String> {
        let differs = self == Self::Map && !name.as_str().contains('_') && is_mapped(name.as_str());
        differs.then(|| name.to_string())
    }

    /// The name of the key that a secret holds, if that can be one.
    pub(crate) fn key(self, secret: &str) -> Option<KeyName> {
        let name = match self {
            Self::Map if secret.ends_with('-') => decode(secret)?,
            _ => secret.to_owned(),
        };
        KeyName::parse(&name).ok()
    }
}

fn differs(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_uppercase()
}

fn is_mapped(name: &str) -> bool {
    name.bytes().any(differs)
}

fn encode(name: &str) -> String {
    if !is_mapped(name) {
        return name.to_owned();
    }
    let mut text = name.to_ascii_lowercase().replace('_', "-");
    text.push('-');
    let last = name.bytes().rposition(differs).expect("looked above");
    for five in name.as_bytes()[..=last].chunks(5) {
        let bits = five.iter().enumerate().filter(|(_, byte)| differs(**byte));
        let bits = bits.fold(0, |bits, (place, _)| bits | 0x10 >> place);
        text.push(char::from(DIGITS[bits]));
    }
    text.push('-');
    text
}

fn decode(secret: &str) -> Option<String> {
    let (folded, mask) = secret.strip_suffix('-')?.rsplit_once('-')?;
    let mut name = folded.as_bytes().to_vec();
    for (index, digit) in mask.bytes().enumerate() {
        let bits = DIGITS.iter().position(|known| *known == digit)?;
        for place in (0..5).filter(|place| bits & 0x10 >> place != 0) {
            let byte = name.get_mut(index * 5 + place)?;
            *byte = if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
        }
    }
    let name = String::from_utf8(name).ok()?;
    // Each name has one form only: what others have made up is not ours.
    (is_mapped(&name) && encode(&name) == secret).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> KeyName {
        KeyName::parse(text).unwrap()
    }

    #[test]
    fn names_that_need_it_are_mapped_and_no_others() {
        for (key, secret) in [
            ("minio-encryption-key-alpha", "minio-encryption-key-alpha"),
            ("7", "7"),
            ("my_key", "my-key-e-"),
            ("My_Key", "my-key-w-"),
            ("my-Key", "my-key-c-"),
            ("__", "---y-"),
            ("a_", "a--i-"),
        ] {
            assert_eq!(Names::Map.secret(&name(key)).unwrap(), secret, "{key}");
            assert_eq!(Names::Map.key(secret), Some(name(key)), "{secret}");
        }
        assert_eq!(Names::Strict.secret(&name("my_key")), None);
        assert_eq!(Names::Strict.secret(&name("My-Key")).as_deref(), Some("My-Key"));
        assert_eq!(Names::Strict.key("my-key-e-"), None);
        assert_eq!(Names::Map.verbatim(&name("My-Key")).as_deref(), Some("My-Key"));
        assert_eq!(Names::Map.verbatim(&name("My_Key")), None);
        assert_eq!(Names::Map.verbatim(&name("my-key")), None);
    }

    #[test]
    fn what_nobody_can_have_mapped_is_no_name() {
        for secret in ["my-key-", "my-key--", "my-key-a-", "my-key-ea-", "my-key-1-", "my-key-7777-", "-", "--", "7-q-"]
        {
            assert_eq!(Names::Map.key(secret), None, "{secret}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back_and_has_a_secret_of_its_own(texts in proptest::collection::vec("[A-Ba-b_-]{1,9}|[A-Za-z0-9_-]{1,80}", 1..60)) {
            let mut secrets = HashMap::new();
            for key in texts.iter().filter_map(|text| KeyName::parse(text).ok()) {
                let secret = Names::Map.secret(&key).unwrap();
                prop_assert!(secret.len() <= 127 && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
                prop_assert_eq!(Names::Map.key(&secret), Some(key.clone()));
                let other = secrets.insert(secret.to_ascii_lowercase(), key.clone());
                prop_assert!(other.is_none_or(|other| other == key));
            }
        }
    }
}
