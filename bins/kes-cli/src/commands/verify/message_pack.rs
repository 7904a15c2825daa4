//! A reader of message-pack (the public format at msgpack.org), as far as MinIO's object metadata uses it. Borrowed from
//! the input, bounded in depth, and nothing is believed about lengths.

/// Deeper values are refused: real metadata has five levels.
const MAX_DEPTH: usize = 16;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// `nil`, a boolean, a float, an extension: nothing that is looked at.
    Other,
    Int(i64),
    /// A string or binary, which MinIO uses in each other's place.
    Bytes(&'a [u8]),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub(super) fn entries(&self) -> &[(Self, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// The value of a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name.bytes() == Some(key.as_bytes())).map(|(_, value)| value)
    }
}

/// What is left of the input.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value; `None` if there is none, or none that is whole.
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Option<Value<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let first = self.number(1)?;
        Some(match first {
            0x00..=0x7f => Value::Int(first.cast_signed()),
            0xe0..=0xff => Value::Int(first.cast_signed() - 256),
            0x80..=0x8f => self.map(first & 0x0f, depth)?,
            0x90..=0x9f => self.array(first & 0x0f, depth)?,
            0xa0..=0xbf => Value::Bytes(self.take(first & 0x1f)?),
            0xc4..=0xc6 => self.sized(1 << (first - 0xc4))?,
            0xd9..=0xdb => self.sized(1 << (first - 0xd9))?,
            0xc7..=0xc9 => {
                let length = self.number(1 << (first - 0xc7))?;
                self.take(length.checked_add(1)?)?;
                Value::Other
            }
            0xca | 0xcb => {
                self.take(4 << (first - 0xca))?;
                Value::Other
            }
            0xcc..=0xcf => Value::Int(self.number(1 << (first - 0xcc))?.cast_signed()),
            0xd0..=0xd3 => {
                let bytes = 1 << (first - 0xd0);
                let unsigned = self.number(bytes)?;
                let unused = 64 - 8 * u32::try_from(bytes).ok()?;
                Value::Int((unsigned << unused).cast_signed() >> unused)
            }
            0xd4..=0xd8 => {
                self.take((1 << (first - 0xd4)) + 1)?;
                Value::Other
            }
            0xdc | 0xdd => {
                let length = self.number(2 << (first - 0xdc))?;
                self.array(length, depth)?
            }
            0xde | 0xdf => {
                let length = self.number(2 << (first - 0xde))?;
                self.map(length, depth)?
            }
            _ => Value::Other,
        })
    }

    fn sized(&mut self, length_bytes: usize) -> Option<Value<'a>> {
        let length = self.number(length_bytes)?;
        Some(Value::Bytes(self.take(length)?))
    }

    fn array(&mut self, length: u64, depth: usize) -> Option<Value<'a>> {
        // Each element takes a byte at least, so no more is asked for than the input can hold.
        let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len())?;
        (0..length).map(|_| self.nested(depth + 1)).collect::<Option<_>>().map(Value::Array)
    }

    fn map(&mut self, length: u64, depth: usize) -> Option<Value<'a>> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len() / 2)?;
        let entry = |_| Some((self.nested(depth + 1)?, self.nested(depth + 1)?));
        (0..length).map(entry).collect::<Option<_>>().map(Value::Map)
    }

    /// A big-endian number of so many bytes.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_value_is_read() {
        for (bytes, expected) in [
            (&[0x05][..], Value::Int(5)),
            (&[0xff], Value::Int(-1)),
            (&[0xd1, 0xff, 0xfe], Value::Int(-2)),
            (&[0xcd, 0x01, 0x00], Value::Int(256)),
            (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Value::Int(i64::MIN)),
            (b"\xa2hi", Value::Bytes(b"hi")),
            (b"\xd9\x02hi", Value::Bytes(b"hi")),
            (b"\xc5\x00\x02hi", Value::Bytes(b"hi")),
            (&[0xc0], Value::Other),
            (&[0xcb, 0, 0, 0, 0, 0, 0, 0, 0], Value::Other),
            (&[0xd4, 1, 2], Value::Other),
            (&[0xc7, 2, 9, 1, 2], Value::Other),
            (&[0x92, 0x01, 0xa0], Value::Array(vec![Value::Int(1), Value::Bytes(b"")])),
            (b"\xde\x00\x01\xa1k\x07", Value::Map(vec![(Value::Bytes(b"k"), Value::Int(7))])),
        ] {
            let mut reader = Reader(bytes);
            assert_eq!(reader.value(), Some(expected), "{bytes:x?}");
            assert!(reader.0.is_empty(), "{bytes:x?}");
        }
    }

    #[test]
    fn what_is_cut_or_too_deep_is_nothing() {
        for bytes in
            [&[][..], &[0xa5, b'x'], &[0xdf, 0xff, 0xff, 0xff, 0xff], &[0xc6, 0xff, 0xff, 0xff, 0xff, 0], &[0x91; 40]]
        {
            assert_eq!(Reader(bytes).value(), None, "{bytes:x?}");
        }
    }
}
