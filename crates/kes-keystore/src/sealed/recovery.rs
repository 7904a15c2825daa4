//! The recovery key: 20 random bytes on paper, for the day when everything else is lost.

use std::fmt;

use kes_crypto::sealing::{SealKey, digest};
use zeroize::{Zeroize, Zeroizing};

/// A recovery key: 160 random bits.
///
/// As text it is 40 characters of Crockford's base32 in eight groups, such as `7G3KQ-0XW2M-…`: 32 of the key, and eight of a
/// checksum, so that a mistake in typing is told from a wrong key. Reading ignores case, blanks and hyphens, and takes
/// `O` for 0, `I` and `L` for 1.
pub struct RecoveryKey(Box<[u8; LEN]>);

const LEN: usize = 20;
const CHECKSUM_LEN: usize = 5;
const TEXT_LEN: usize = (LEN + CHECKSUM_LEN) * 8 / 5;
const GROUP_LEN: usize = 5;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const PURPOSE: &[u8] = b"kes-seal recovery\0";
const CHECKSUM_PURPOSE: &[u8] = b"kes-seal recovery checksum\0";

/// The text is no recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecoveryKey {
    /// Not 40 characters.
    #[error("a recovery key has 40 characters in eight groups, not {0}")]
    Length(usize),
    /// A character that is none of the alphabet.
    #[error("the character at position {0} of the recovery key is not in its alphabet (0-9, A-Z without U)")]
    Character(usize),
    /// The checksum does not fit: something was mistyped.
    #[error("the recovery key is mistyped: its checksum does not fit")]
    Checksum,
}

impl RecoveryKey {
    /// A new random key.
    ///
    /// # Errors
    /// [`kes_crypto::Error::Random`].
    pub fn generate() -> Result<Self, kes_crypto::Error> {
        let mut bytes = Box::new([0; LEN]);
        kes_crypto::random(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// Reads what [`RecoveryKey::to_text`] wrote, as a person typed it.
    ///
    /// # Errors
    /// [`InvalidRecoveryKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidRecoveryKey> {
        let mut digits = Zeroizing::new(Vec::with_capacity(text.len()));
        for character in text.chars().filter(|character| !character.is_whitespace() && *character != '-') {
            let digit = digit(character).ok_or(InvalidRecoveryKey::Character(digits.len() + 1))?;
            digits.push(digit);
        }
        if digits.len() != TEXT_LEN {
            return Err(InvalidRecoveryKey::Length(digits.len()));
        }
        let mut bytes = Zeroizing::new([0; LEN + CHECKSUM_LEN]);
        for (group, bytes) in digits.chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
            let mut number = group.iter().fold(0_u64, |number, digit| number << 5 | u64::from(*digit));
            bytes.copy_from_slice(&number.to_be_bytes()[3..]);
            number.zeroize();
        }
        let mut key = Self(Box::new([0; LEN]));
        key.0.copy_from_slice(&bytes[..LEN]);
        if key.checksum() == bytes[LEN..] { Ok(key) } else { Err(InvalidRecoveryKey::Checksum) }
    }

    /// The key as a person can write it down.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; LEN + CHECKSUM_LEN]);
        bytes[..LEN].copy_from_slice(&*self.0);
        bytes[LEN..].copy_from_slice(&self.checksum());
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN + TEXT_LEN / GROUP_LEN));
        for (number, digit) in bytes.chunks_exact(5).flat_map(digits).enumerate() {
            if number > 0 && number % GROUP_LEN == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(digit)]));
        }
        text
    }

    /// The key that the slot is under: `SHA-256("kes-seal recovery" || 0x00 || the 20 bytes)`.
    pub(super) fn seal_key(&self) -> SealKey {
        let message = Zeroizing::new([PURPOSE, &self.0[..]].concat());
        let key = Zeroizing::new(digest(&message));
        SealKey::from_bytes(key.as_slice()).expect("a digest has 32 bytes")
    }

    fn checksum(&self) -> [u8; CHECKSUM_LEN] {
        let message = Zeroizing::new([CHECKSUM_PURPOSE, &self.0[..]].concat());
        digest(&message)[..CHECKSUM_LEN].try_into().expect("cut to length")
    }
}

impl Drop for RecoveryKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

fn digit(character: char) -> Option<u8> {
    let character = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let position = ALPHABET.iter().position(|digit| char::from(*digit) == character)?;
    u8::try_from(position).ok()
}

/// Eight digits of five bits from five bytes.
fn digits(bytes: &[u8]) -> [u8; 8] {
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    std::array::from_fn(|at| (number >> (35 - 5 * at) & 31) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_survives_paper_and_careless_typing() {
        let key = RecoveryKey::generate().unwrap();
        let text = key.to_text();
        assert_eq!(text.len(), 47);
        assert!(text.split('-').all(|group| group.len() == 5) && text.split('-').count() == 8, "{text:?}");
        let typed = text.to_lowercase().replace('0', "o").replace('1', "l").replace('-', " ");
        for typed in [text.to_string(), typed.clone(), format!(" {typed}\n"), text.replace('-', "")] {
            assert_eq!(*RecoveryKey::parse(&typed).unwrap().0, *key.0, "{typed}");
        }
    }

    #[test]
    fn the_text_is_pinned() {
        let key = RecoveryKey(Box::new(std::array::from_fn(|at| at as u8)));
        assert_eq!(key.to_text().as_str(), "000G4-0R40M-30E20-9185G-R38E1-W8124-GKF20-6830E");
    }

    #[test]
    fn mistakes_are_told_from_wrong_keys() {
        let text = RecoveryKey::generate().unwrap().to_text();
        assert_eq!(RecoveryKey::parse(&text[..46]).unwrap_err(), InvalidRecoveryKey::Length(39));
        assert_eq!(RecoveryKey::parse("").unwrap_err(), InvalidRecoveryKey::Length(0));
        assert_eq!(RecoveryKey::parse("00U").unwrap_err(), InvalidRecoveryKey::Character(3));
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            if changed[at] != b'-' {
                changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(RecoveryKey::parse(&changed).unwrap_err(), InvalidRecoveryKey::Checksum);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = RecoveryKey::parse(&text);
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let key = RecoveryKey::generate().unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "RecoveryKey(..) RecoveryKey(..)");
    }
}
