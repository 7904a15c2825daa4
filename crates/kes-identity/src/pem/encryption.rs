//! Private keys under a password: RFC 1423 (read and written) and PKCS#8 PBES2 (read).
//!
//! RFC 1423 stretches the password with one round of MD5 and has no integrity check. It is what the old tools read and write;
//! the strength of such a file is that of its password.
//!
//! `key = D1 || D2 || …`, `Di = MD5(Di-1 || password || salt)`, `salt` = the first 8 bytes of the IV.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipher, BlockDecryptMut, BlockEncryptMut, BlockSizeUser, KeyInit, KeyIvInit, KeySizeUser};
use cbc::{Decryptor, Encryptor};
use des::{Des, TdesEde3};
use md5::{Digest, Md5};
use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::pkcs5;
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use super::{Block, Error, element, secret_buffer, write_block};
use crate::signer::fill;
use crate::{PrivateKey, SecretText};

/// The bytes below the encryption of a block, or `None` if it has none.
pub(super) fn decrypt(block: &Block, password: Option<&str>) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    if !block.is_encrypted() {
        return Ok(None);
    }
    let password = password.ok_or(Error::PasswordRequired)?.as_bytes();
    match block.header("DEK-Info") {
        Some(info) => rfc1423(info, block.contents(), password),
        // Departs from upstream: the old server cannot read PBES2, which is what current tools write.
        None => pbes2(block.contents(), password),
    }
    .map(Some)
}

/// A PKCS#8 private key as PEM under a password: label `PRIVATE KEY`, RFC 1423 with AES-256-CBC and a random IV, as
/// `kes identity new --encrypt` has always written it.
///
/// # Errors
/// [`Error::UnsupportedKey`] if the key is not PKCS#8, [`Error::Random`].
pub fn encrypt_private_key(key: &PrivateKey, password: &str) -> Result<SecretText, Error> {
    let PrivateKeyDer::Pkcs8(der) = key.expose() else { return Err(Error::UnsupportedKey) };
    let mut iv = [0; 16];
    fill(&mut iv).map_err(|_| Error::Random)?;
    let derived = derive(password.as_bytes(), &iv, Aes256::key_size());
    let sealed = Encryptor::<Aes256>::new_from_slices(&derived, &iv)
        .expect("both lengths are the cipher's")
        .encrypt_padded_vec_mut::<Pkcs7>(der.secret_pkcs8_der());
    let iv: String = iv.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = secret_buffer(sealed.len());
    write_block(&mut text, "PRIVATE KEY", &format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,{iv}\n\n"), &sealed);
    Ok(SecretText::new(text))
}

fn rfc1423(info: &str, sealed: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (cipher, iv) = info.split_once(',').ok_or(Error::UnknownEncryption)?;
    let iv = hex(iv.trim()).ok_or(Error::UnknownEncryption)?;
    match cipher.trim() {
        "AES-128-CBC" => open::<Aes128>(sealed, password, &iv),
        "AES-192-CBC" => open::<Aes192>(sealed, password, &iv),
        "AES-256-CBC" => open::<Aes256>(sealed, password, &iv),
        "DES-EDE3-CBC" => open::<TdesEde3>(sealed, password, &iv),
        "DES-CBC" => open::<Des>(sealed, password, &iv),
        _ => Err(Error::UnknownEncryption),
    }
}

fn open<C>(sealed: &[u8], password: &[u8], iv: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error>
where
    C: BlockCipher + BlockDecryptMut + KeyInit + KeySizeUser + BlockSizeUser,
{
    if iv.len() != C::block_size() {
        return Err(Error::UnknownEncryption);
    }
    let key = derive(password, iv, C::key_size());
    let opener = Decryptor::<C>::new_from_slices(&key, iv).expect("both lengths are the cipher's");
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = opener.decrypt_padded_mut::<Pkcs7>(&mut buffer).map_err(|_| Error::WrongPassword)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

fn derive(password: &[u8], iv: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut last = Zeroizing::new([0u8; 16]);
    while key.len() < length {
        let mut hash = Md5::new();
        if !key.is_empty() {
            hash.update(last.as_slice());
        }
        hash.update(password);
        hash.update(&iv[..8]);
        last.copy_from_slice(&hash.finalize());
        key.extend_from_slice(&*last);
    }
    key.truncate(length);
    key
}

fn pbes2(der: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    // An encryption that pkcs8 has no name for (PKCS#12's, of OpenSSL before 1.1) fails while parsing; its frame is the same.
    let framed = || matches!(element(der), Some((0x30, inside, [])) if matches!(element(inside), Some((0x30, ..))));
    let info = EncryptedPrivateKeyInfo::try_from(der)
        .map_err(|_| if framed() { Error::UnknownEncryption } else { Error::MalformedKey })?;
    match info.decrypt(password) {
        Ok(document) => Ok(document.to_bytes()),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::NoPbes1CryptSupport
            | pkcs5::Error::AlgorithmParametersInvalid { .. },
        )) => Err(Error::UnknownEncryption),
        Err(_) => Err(Error::WrongPassword),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
