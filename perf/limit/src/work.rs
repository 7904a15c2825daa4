//! One request: JSON, base64 and cryptography, and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as B64;
use bytes::Bytes;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{aead, hmac};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Status and message.
pub type Fail = (u16, &'static str);

/// The one key that every name means here.
pub struct Keys {
    secret: hmac::Key,
    mac: hmac::Key,
    random: SystemRandom,
}

impl Keys {
    pub fn new() -> Self {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { secret: key(&[7; 32]), mac: key(&[9; 32]), random: SystemRandom::new() }
    }

    /// `key' = HMAC-SHA256(key, iv)`
    fn derive(&self, iv: &[u8]) -> aead::LessSafeKey {
        let tag = hmac::sign(&self.secret, iv);
        aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, tag.as_ref()).expect("32 bytes"))
    }

    /// `buffer` holds the plaintext and becomes sealed || iv || nonce.
    fn seal(&self, buffer: &mut Vec<u8>, aad: &[u8], random: &[u8; 28]) {
        let nonce = aead::Nonce::try_assume_unique_for_key(&random[16..]).expect("12 bytes");
        self.derive(&random[..16]).seal_in_place_append_tag(nonce, aead::Aad::from(aad), buffer).expect("a short plaintext");
        buffer.extend_from_slice(random);
    }

    fn open<'a>(&self, buffer: &'a mut [u8], aad: &[u8]) -> Result<&'a [u8], Fail> {
        const NOT_AUTHENTIC: Fail = (400, "decryption failed: ciphertext is not authentic");
        if buffer.len() < 44 {
            return Err(NOT_AUTHENTIC);
        }
        let (sealed, random) = buffer.split_at_mut(buffer.len() - 28);
        let nonce = aead::Nonce::try_assume_unique_for_key(&random[16..]).expect("12 bytes");
        self.derive(&random[..16]).open_in_place(nonce, aead::Aad::from(aad), sealed).map(|plain| &*plain).map_err(|_| NOT_AUTHENTIC)
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    context: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    ciphertext: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    plaintext: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Generated<'a> {
    plaintext: &'a str,
    ciphertext: &'a str,
}
#[derive(Serialize)]
struct Encrypted<'a> {
    ciphertext: &'a str,
}
#[derive(Serialize)]
struct Decrypted<'a> {
    plaintext: &'a str,
}
#[derive(Serialize)]
struct Mac<'a> {
    hmac: &'a str,
}

const STATUS: &[u8] =
    br#"{"version":"v0.0.0","os":"linux","arch":"amd64","uptime":12,"num_cpu":1,"num_cpu_used":1,"num_heap_alloc":1,"num_stack_alloc":1}"#;

/// Answers a request; `post` tells that its method was PUT or POST.
pub fn handle(keys: &Keys, post: bool, path: &str, body: &[u8]) -> Result<Bytes, Fail> {
    let Some((operation, name)) = path.strip_prefix("/v1/key/").and_then(|rest| rest.split_once('/')) else {
        return match path {
            "/v1/status" | "/v1/ready" | "/version" => Ok(Bytes::from_static(STATUS)),
            _ => Err((404, "not found")),
        };
    };
    if !post {
        return Err((405, "method not allowed"));
    }
    if name.is_empty() || name.len() > 80 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err((400, "key name is empty, too long or contains invalid characters"));
    }
    if operation == "create" {
        return Ok(Bytes::new());
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| (400, "invalid request body"))?;
    let mut aad = Vec::new();
    decode(body.context.as_deref(), &mut aad)?;
    let mut first = String::with_capacity(128);
    let mut buffer = Vec::with_capacity(128);
    Ok(match operation {
        "generate" => {
            let mut random = [0; 60];
            keys.random.fill(&mut random).expect("the system has random bytes");
            buffer.extend_from_slice(&random[28..]);
            B64.encode_string(&buffer, &mut first);
            keys.seal(&mut buffer, &aad, random[..28].try_into().expect("28 bytes"));
            let mut second = String::with_capacity(128);
            B64.encode_string(&buffer, &mut second);
            json(&Generated { plaintext: &first, ciphertext: &second })
        }
        "encrypt" => {
            let mut random = [0; 28];
            keys.random.fill(&mut random).expect("the system has random bytes");
            decode(body.plaintext.as_deref(), &mut buffer)?;
            keys.seal(&mut buffer, &aad, &random);
            B64.encode_string(&buffer, &mut first);
            json(&Encrypted { ciphertext: &first })
        }
        "decrypt" => {
            decode(body.ciphertext.as_deref(), &mut buffer)?;
            B64.encode_string(keys.open(&mut buffer, &aad)?, &mut first);
            json(&Decrypted { plaintext: &first })
        }
        "hmac" => {
            decode(body.message.as_deref(), &mut buffer)?;
            B64.encode_string(hmac::sign(&keys.mac, &buffer), &mut first);
            json(&Mac { hmac: &first })
        }
        _ => return Err((404, "not found")),
    })
}

fn decode(text: Option<&str>, out: &mut Vec<u8>) -> Result<(), Fail> {
    text.map_or(Ok(()), |text| B64.decode_vec(text, out).map_err(|_| (400, "invalid request body")))
}

fn json(value: &impl Serialize) -> Bytes {
    let mut bytes = Vec::with_capacity(256);
    serde_json::to_writer(&mut bytes, value).expect("plain structs serialise");
    bytes.into()
}
