//! Secret values that leave this crate.

use std::fmt;

use rustls::pki_types::PrivateKeyDer;
use zeroize::{Zeroize, Zeroizing};

/// A text that nobody else may see: an API key, a private key as PEM. Wiped on drop, never printed by `Debug`.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(crate) fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text, for the one who is to have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// A private key in DER: PKCS#8, PKCS#1 or SEC1. Wiped on drop, never printed by `Debug`.
pub struct PrivateKey(PrivateKeyDer<'static>);

impl PrivateKey {
    /// Takes the key over; it is wiped when this value goes away.
    pub fn new(der: PrivateKeyDer<'static>) -> Self {
        Self(der)
    }

    /// The key. Whoever copies it out (`clone_key`), as rustls wants, owns the copy and its wiping.
    pub fn expose(&self) -> &PrivateKeyDer<'static> {
        &self.0
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            PrivateKeyDer::Pkcs1(_) => "PrivateKey(PKCS#1)",
            PrivateKeyDer::Sec1(_) => "PrivateKey(SEC1)",
            _ => "PrivateKey(PKCS#8)",
        })
    }
}
