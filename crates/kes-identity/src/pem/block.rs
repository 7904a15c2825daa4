//! The frame of a PEM file: blocks, their labels, headers and bytes.

use base64::Engine;
use zeroize::Zeroizing;

use super::{BASE64, Error};

/// One block of a PEM file. Its contents are wiped on drop.
pub struct Block {
    label: String,
    headers: Vec<(String, String)>,
    contents: Zeroizing<Vec<u8>>,
}

impl Block {
    /// What stands after `BEGIN`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it holds a certificate.
    pub fn is_certificate(&self) -> bool {
        self.label == "CERTIFICATE"
    }

    /// Whether it holds a private key of any form, plain or encrypted: `PRIVATE KEY` or `… PRIVATE KEY`.
    pub fn is_private_key(&self) -> bool {
        self.label == "PRIVATE KEY" || self.label.ends_with(" PRIVATE KEY")
    }

    /// The value of an RFC 1421 header, such as `DEK-Info`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether a password is needed to read it: an RFC 1423 header or the PKCS#8 label.
    pub fn is_encrypted(&self) -> bool {
        self.header("DEK-Info").is_some() || self.is_encrypted_pkcs8()
    }

    /// The decoded bytes; those of an encrypted block as they stand there.
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }

    pub(super) fn is_encrypted_pkcs8(&self) -> bool {
        self.label == "ENCRYPTED PRIVATE KEY"
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({})", self.label)
    }
}

/// The blocks of a PEM file, from [`blocks`].
pub struct Blocks<'a> {
    rest: &'a [u8],
}

/// The blocks of a PEM file in their order. Text before a block is skipped, and so is a broken block if a good one follows;
/// text after the last block is [`Error::NotPem`], blank lines are not.
pub fn blocks(text: &[u8]) -> Blocks<'_> {
    Blocks { rest: text }
}

impl Iterator for Blocks<'_> {
    type Item = Result<Block, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.trim_ascii().is_empty() {
            return None;
        }
        while let Some(label) = begin(take_line(&mut self.rest)) {
            let mut ahead = self.rest;
            if let Some(block) = label.and_then(|label| read(label, &mut ahead)) {
                self.rest = ahead;
                return Some(Ok(block));
            }
        }
        Some(Err(Error::NotPem))
    }
}

/// `None` at the end of the text, else the label if the line begins a block.
fn begin(line: Option<&[u8]>) -> Option<Option<&str>> {
    let line = line?;
    Some(
        line.strip_prefix(b"-----BEGIN ")
            .and_then(|line| line.strip_suffix(b"-----"))
            .and_then(|label| std::str::from_utf8(label).ok()),
    )
}

/// The rest of a block that began with `label`.
fn read(label: &str, rest: &mut &[u8]) -> Option<Block> {
    let mut headers = Vec::new();
    let mut body = Zeroizing::new(Vec::with_capacity(rest.len()));
    loop {
        let line = take_line(rest)?;
        if let Some(end) = line.strip_prefix(b"-----END ") {
            let contents =
                BASE64.decode(body.as_slice()).ok().filter(|_| end.strip_suffix(b"-----") == Some(label.as_bytes()))?;
            return Some(Block { label: label.to_owned(), headers, contents: Zeroizing::new(contents) });
        }
        match line.iter().position(|byte| *byte == b':') {
            Some(colon) if body.is_empty() => {
                let text = |bytes: &[u8]| Some(std::str::from_utf8(bytes).ok()?.trim().to_owned());
                headers.push((text(&line[..colon])?, text(&line[colon + 1..])?));
            }
            _ => body.extend(line.iter().filter(|byte| !matches!(byte, b' ' | b'\t'))),
        }
    }
}

/// The next line without its end and without blanks before that.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
    let (line, after) = rest.split_at(end);
    *rest = after;
    Some(line.trim_ascii_end())
}
