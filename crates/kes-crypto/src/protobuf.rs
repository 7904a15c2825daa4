//! The protobuf record of a stored key, by hand.
//!
//! ```text
//! KeyVersion { SecretKey key = 1; HMACKey hmac_key = 2; Timestamp created_at = 3; string created_by = 4 }
//! SecretKey  { bytes key = 1; uint32 type = 2 }          type 1 = AES256, 2 = ChaCha20
//! HMACKey    { bytes key = 1; uint32 hash = 2 }          hash 1 = SHA256
//! Timestamp  { int64 seconds = 1; int32 nanos = 2 }
//! ```
//!
//! The writer emits fields in order, with shortest varints and without zero scalars: the bytes that Go's library
//! makes. The reader follows proto3: any order, unknown fields skipped, the last scalar wins, repeated messages merge.

use zeroize::Zeroizing;

use crate::Unreadable;

/// The fields of a record; `None` is a sub-message that is not there.
pub(crate) struct Record<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) key_type: u32,
    pub(crate) hmac_key: Option<&'a [u8]>,
    pub(crate) hash: u32,
    pub(crate) seconds: i64,
    pub(crate) nanos: i32,
    pub(crate) created_by: &'a str,
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Record<'_>, Unreadable> {
    let mut key = None;
    let mut hmac_key = None;
    let mut timestamp = Numbers::default();
    let mut created_by = "";
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(message)) => key.get_or_insert_with(Tagged::default).merge(message)?,
            (2, Value::Bytes(message)) => hmac_key.get_or_insert_with(Tagged::default).merge(message)?,
            (3, Value::Bytes(message)) => timestamp.merge(message)?,
            (4, Value::Bytes(text)) => created_by = str::from_utf8(text).map_err(|_| Unreadable::Protobuf)?,
            // Go's library takes a known field of another wire type for an unknown one, and so do we.
            _ => {}
        }
    }
    Ok(Record {
        key_type: key.as_ref().map_or(0, |key| key.number),
        key: key.map(|key| key.bytes),
        hash: hmac_key.as_ref().map_or(0, |key| key.number),
        hmac_key: hmac_key.map(|key| key.bytes),
        // Varints of a narrower type are cut to its width, and negative ones are stored as two's complement.
        seconds: timestamp.first as i64,
        nanos: timestamp.second as i32,
        created_by,
    })
}

pub(crate) fn write(record: &Record<'_>) -> Zeroizing<Vec<u8>> {
    // Ample for everything but the creator, so that no key bytes are left behind in an outgrown buffer.
    let mut out = Zeroizing::new(Vec::with_capacity(128 + record.created_by.len()));
    for (number, key, kind) in [(1, record.key, record.key_type), (2, record.hmac_key, record.hash)] {
        if let Some(key) = key {
            let mut message = Zeroizing::new(Vec::with_capacity(16 + key.len()));
            write_bytes(&mut message, 1, key);
            write_number(&mut message, 2, kind.into());
            write_message(&mut out, number, &message);
        }
    }
    let mut timestamp = Vec::new();
    write_number(&mut timestamp, 1, record.seconds as u64);
    write_number(&mut timestamp, 2, i64::from(record.nanos) as u64);
    write_message(&mut out, 3, &timestamp);
    write_bytes(&mut out, 4, record.created_by.as_bytes());
    out
}

/// Writes a bytes or string field, unless it is empty.
fn write_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        write_message(out, number, bytes);
    }
}

fn write_message(out: &mut Vec<u8>, number: u64, message: &[u8]) {
    write_varint(out, number << 3 | 2);
    write_varint(out, message.len() as u64);
    out.extend_from_slice(message);
}

/// Writes a varint field, unless it is zero.
fn write_number(out: &mut Vec<u8>, number: u64, value: u64) {
    if value != 0 {
        write_varint(out, number << 3);
        write_varint(out, value);
    }
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message of bytes and a number: both kinds of key.
#[derive(Default)]
struct Tagged<'a> {
    bytes: &'a [u8],
    number: u32,
}

impl<'a> Tagged<'a> {
    fn merge(&mut self, message: &'a [u8]) -> Result<(), Unreadable> {
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(bytes)) => self.bytes = bytes,
                (2, Value::Varint(number)) => self.number = number as u32,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A message of two numbers: the timestamp.
#[derive(Default)]
struct Numbers {
    first: u64,
    second: u64,
}

impl Numbers {
    fn merge(&mut self, message: &[u8]) -> Result<(), Unreadable> {
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(number)) => self.first = number,
                (2, Value::Varint(number)) => self.second = number,
                _ => {}
            }
        }
        Ok(())
    }
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed-width number or a group: no field of ours has one, so only its length mattered.
    Foreign,
}

/// The fields of a message that are still to be read.
struct Fields<'a>(&'a [u8]);

/// How deep foreign groups may nest. Only a hostile record comes near.
const MAX_GROUPS: usize = 100;

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Unreadable> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        Ok(Some((number, self.value(number, wire_type, 0)?)))
    }

    fn tag(&mut self) -> Result<(u32, u8), Unreadable> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Unreadable::Protobuf)?;
        if number == 0 || number >= 1 << 29 {
            return Err(Unreadable::Protobuf);
        }
        Ok((number, tag as u8 & 7))
    }

    fn value(&mut self, number: u32, wire_type: u8, depth: usize) -> Result<Value<'a>, Unreadable> {
        match wire_type {
            0 => return Ok(Value::Varint(self.varint()?)),
            1 => self.take(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Unreadable::Protobuf)?;
                return Ok(Value::Bytes(self.take(length)?));
            }
            3 if depth < MAX_GROUPS => return self.group(number, depth),
            5 => self.take(4)?,
            _ => return Err(Unreadable::Protobuf),
        };
        Ok(Value::Foreign)
    }

    /// Skips to the end mark of this group.
    fn group(&mut self, number: u32, depth: usize) -> Result<Value<'a>, Unreadable> {
        loop {
            match self.tag()? {
                (end, 4) if end == number => return Ok(Value::Foreign),
                (inner, wire_type) => self.value(inner, wire_type, depth + 1)?,
            };
        }
    }

    fn varint(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            // The tenth byte has room for one bit only.
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unreadable::Protobuf)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Protobuf)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Option<u64> {
        Fields(bytes).varint().ok()
    }

    #[test]
    fn varints() {
        assert_eq!(varint(&[0x00]), Some(0));
        assert_eq!(varint(&[0xac, 0x02]), Some(300));
        assert_eq!(varint(&[0x80, 0x00]), Some(0)); // longer than needed
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Some(u64::MAX));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(varint(&[0x80; 11]), None);
        assert_eq!(varint(&[0x80]), None);
        assert_eq!(varint(&[]), None);
    }

    #[test]
    fn foreign_fields_of_every_wire_type_are_skipped() {
        let mut bytes = vec![0x50, 0x01]; // 10: varint
        bytes.extend([0x51, 0, 0, 0, 0, 0, 0, 0, 0]); // 10: fixed64
        bytes.extend([0x55, 0, 0, 0, 0]); // 10: fixed32
        bytes.extend([0x53, 0x5b, 0x08, 0x01, 0x5c, 0x54]); // 10: group with a group 11 in it
        bytes.extend([0x20, 0x01]); // 4 as a varint
        bytes.extend([0x22, 1, b'x']);
        assert_eq!(parse(&bytes).map(|record| record.created_by), Ok("x"));
    }

    #[test]
    fn damaged_records_are_refused() {
        for bytes in [
            &[0x00, 0x01][..],   // field number 0
            &[0x0a, 0x05, 0x01], // shorter than its length
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x53, 0x5c],             // end mark of another group
            &[0x53],                   // group without an end
            &[0x54],                   // end without a group
            &[0x56],                   // wire type 6
            &[0x0a, 0x02, 0x12, 0x05], // damaged inside
            &[0x22, 0x01, 0xff],       // creator is not UTF-8
        ] {
            assert_eq!(parse(bytes).err(), Some(Unreadable::Protobuf), "{bytes:x?}");
        }
        assert_eq!(parse(&[0x53; 1000]).err(), Some(Unreadable::Protobuf));
    }
}
