//! Sealed keys of MinIO's static key up to RELEASE.2021-04-22: packages of the DARE 2.0 format. Read, never written.

use ring::aead::{AES_256_GCM, CHACHA20_POLY1305};
use ring::hmac;

use crate::message_key::{MessageKey, NONCE_LEN};
use crate::{Error, Plaintext, SecretKey};

/// Length of a sealed key of MinIO before May 2021: one DARE 2.0 package of 32 bytes.
const DARE_LEN: usize = 64;

/// Whether this has the form of a sealed key of MinIO up to RELEASE.2021-04-22, to be opened by [`open_dare`].
///
/// The form is recognisable but not excluded for other ciphertexts; its tag decides.
#[must_use]
pub fn is_dare(sealed: &[u8]) -> bool {
    sealed.len() == DARE_LEN && matches!(sealed[..5], [0x20, 0 | 1, 0x1f, 0, nonce] if nonce & 0x80 != 0)
}

/// Opens a sealed key of MinIO up to RELEASE.2021-04-22: one DARE 2.0 package under a key derived for name and context.
///
/// ```text
/// key'    = HMAC-SHA256(key, name || context)
/// package = 0x20 || cipher (0 AES-256-GCM, 1 ChaCha20-Poly1305) || 0x1f00 || nonce (12) || sealed (32) || tag (16)
/// AEAD(key', nonce, associated data = first 4 bytes)
/// ```
///
/// `name` is the name that MinIO used for the key, `context` the canonical [`context`](super::context).
///
/// # Errors
/// [`Error::NotAuthentic`], also for anything of another form.
pub fn open_dare(key: &SecretKey, name: &str, context: &[u8], sealed: &[u8]) -> Result<Plaintext, Error> {
    if !is_dare(sealed) {
        return Err(Error::NotAuthentic);
    }
    let mut derivation = hmac::Context::with_key(key.mac());
    derivation.update(name.as_bytes());
    derivation.update(context);
    let algorithm = if sealed[1] == 0 { &AES_256_GCM } else { &CHACHA20_POLY1305 };
    let derived = MessageKey::new(algorithm, derivation.sign().as_ref());

    // The nonce's last four bytes are to be XORed with the package's number, which is 0.
    let (header, rest) = sealed.split_at(4);
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().expect("length checked above");
    let mut plaintext = sealed.to_vec();
    let length = derived.open(nonce, header, &mut plaintext)?;
    plaintext.truncate(length);
    Ok(Plaintext::new(plaintext))
}
