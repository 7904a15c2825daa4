//! The key for one message: its derivation, and the AEAD under it.

use aes::cipher::BlockEncrypt;
use aes::cipher::KeyInit;
use chacha20::cipher::consts::U10;
use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::error::Unspecified;
use ring::hmac;
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, SecretKey};

pub(crate) const IV_LEN: usize = 16;
pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

/// How a message key is derived and which AEAD it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// `HMAC-SHA256(key, iv)` for AES-256-GCM.
    Aes,
    /// `HChaCha20(key, iv)` for ChaCha20-Poly1305.
    ChaCha,
    /// The derivation of v0.1.0 – v0.6.0 for AES-256-GCM. Its outputs are linearly related, so it is only ever read.
    EarlyAes,
}

/// The AEAD under the key for the one message with this `iv`.
pub(crate) fn derive(key: &SecretKey, cipher: Cipher, iv: &[u8; IV_LEN]) -> MessageKey {
    let algorithm = match cipher {
        Cipher::Aes | Cipher::EarlyAes => &AES_256_GCM,
        Cipher::ChaCha => &CHACHA20_POLY1305,
    };
    MessageKey::new(algorithm, derive_bytes(key, cipher, iv).as_slice())
}

fn derive_bytes(key: &SecretKey, cipher: Cipher, iv: &[u8; IV_LEN]) -> Zeroizing<[u8; 32]> {
    let mut derived = Zeroizing::new([0; 32]);
    match cipher {
        Cipher::Aes => derived.copy_from_slice(hmac::sign(key.mac(), iv).as_ref()),
        Cipher::ChaCha => {
            let mut subkey = chacha20::hchacha::<U10>(key.expose().into(), iv.into());
            derived.copy_from_slice(&subkey);
            subkey.zeroize();
        }
        Cipher::EarlyAes => derive_early_aes(key.expose(), iv, &mut derived),
    }
    derived
}

/// With `E` = AES-256 under the key and a little-endian 32-bit counter before the iv's first or last 12 bytes:
/// `E(0, iv[..12]) ^ E(1, iv[4..]) || E(2, iv[..12]) ^ E(3, iv[4..])`.
fn derive_early_aes(key: &[u8; 32], iv: &[u8; IV_LEN], derived: &mut [u8; 32]) {
    let aes = aes::Aes256::new(key.into());
    for counter in 0..4_u8 {
        let half = if counter % 2 == 0 { &iv[..12] } else { &iv[4..] };
        let mut block = aes::Block::default();
        block[0] = counter;
        block[4..].copy_from_slice(half);
        aes.encrypt_block(&mut block);
        let offset = usize::from(counter / 2) * 16;
        for (out, byte) in derived[offset..].iter_mut().zip(&block) {
            *out ^= byte;
        }
        block.zeroize();
    }
}

/// A key to be used for one message only.
pub(crate) struct MessageKey(LessSafeKey);

impl MessageKey {
    /// `key` has 32 bytes, whichever the algorithm.
    pub(crate) fn new(algorithm: &'static Algorithm, key: &[u8]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(algorithm, key).expect("both ciphers take 32 bytes")))
    }

    /// Encrypts in place and returns the tag. Fails only if the plaintext is too long.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<Tag, Unspecified> {
        self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(associated_data), in_out)
    }

    /// Decrypts ciphertext and tag in place and returns the length of the plaintext, which begins at 0.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        in_out: &mut [u8],
    ) -> Result<usize, Error> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(associated_data), in_out)
            .map(|plaintext| plaintext.len())
            .map_err(|_| Error::NotAuthentic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyType;

    fn hex(text: &serde_json::Value) -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn derivations_match_the_vectors() {
        let file: serde_json::Value = serde_json::from_str(include_str!("../tests/vectors/kdf.json")).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 10);
        for vector in vectors {
            let cipher = match vector["kdf"].as_str().unwrap() {
                "HMAC-SHA256" => Cipher::Aes,
                "HChaCha20" => Cipher::ChaCha,
                "legacy-aes" => Cipher::EarlyAes,
                other => panic!("unknown derivation {other}"),
            };
            let key = SecretKey::from_bytes(KeyType::Aes256, &hex(&vector["key"])).unwrap();
            let iv = hex(&vector["iv"]).try_into().unwrap();
            assert_eq!(derive_bytes(&key, cipher, &iv).as_slice(), hex(&vector["derived"]), "{}", vector["id"]);
        }
    }
}
