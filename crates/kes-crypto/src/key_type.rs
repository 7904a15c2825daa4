//! The cipher of a key: its names, and which one a new key gets.

/// The cipher of a secret key. It is chosen when the key is made and stored with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// AES-256-GCM under a message key from HMAC-SHA256.
    Aes256,
    /// ChaCha20-Poly1305 under a message key from HChaCha20.
    ChaCha20,
    /// A key whose stored form names no cipher: those of MinIO KES up to v0.19.1, imports of 2023, AES keys of late
    /// 2023, and MinIO's static key. It encrypts as [`KeyType::Aes256`]; an older envelope is opened with the cipher
    /// that its label names, everything else as AES.
    Legacy,
}

impl KeyType {
    /// The name that clients see: `AES256` (also for [`KeyType::Legacy`]) or `ChaCha20`.
    #[must_use]
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::Aes256 | Self::Legacy => "AES256",
            Self::ChaCha20 => "ChaCha20",
        }
    }

    /// Reads a cipher name of an import request or a stored key: `AES256`, `AES256-GCM_SHA256`, `ChaCha20` or
    /// `XCHACHA20-POLY1305`, in exactly this case. Never gives [`KeyType::Legacy`].
    ///
    /// The last name misleads: the construction is HChaCha20 with an independent 12-byte nonce, not the common
    /// XChaCha20-Poly1305.
    #[must_use]
    pub fn parse_import(name: &str) -> Option<Self> {
        match name {
            "AES256" | "AES256-GCM_SHA256" => Some(Self::Aes256),
            "ChaCha20" | "XCHACHA20-POLY1305" => Some(Self::ChaCha20),
            _ => None,
        }
    }

    /// The type for a new key on this machine: [`KeyType::Aes256`] if the CPU has instructions for AES-GCM, else
    /// [`KeyType::ChaCha20`], which is faster in software and runs in constant time there.
    ///
    /// The rule is upstream's: x86 with AES-NI and PCLMULQDQ, arm64 with AES and PMULL, ppc64le always. Only on s390x,
    /// where upstream asks for more than our AES uses, a new key is always ChaCha20; either server reads both.
    #[must_use]
    pub fn preferred() -> Self {
        if cpu_has_aes_gcm() { Self::Aes256 } else { Self::ChaCha20 }
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn cpu_has_aes_gcm() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn cpu_has_aes_gcm() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_has_aes_gcm() -> bool {
    cfg!(all(target_arch = "powerpc64", target_endian = "little"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_four_names_are_read() {
        for (name, expected) in [
            ("AES256", Some(KeyType::Aes256)),
            ("AES256-GCM_SHA256", Some(KeyType::Aes256)),
            ("ChaCha20", Some(KeyType::ChaCha20)),
            ("XCHACHA20-POLY1305", Some(KeyType::ChaCha20)),
            ("aes256", None),
            ("", None),
            ("undefined", None),
            ("AES-256-GCM-HMAC-SHA-256", None),
            ("ChaCha20Poly1305", None),
        ] {
            assert_eq!(KeyType::parse_import(name), expected, "{name}");
        }
    }

    #[test]
    fn a_key_without_a_cipher_shows_as_aes() {
        assert_eq!(KeyType::Legacy.algorithm(), "AES256");
        assert_eq!(KeyType::parse_import(KeyType::Aes256.algorithm()), Some(KeyType::Aes256));
        assert_eq!(KeyType::parse_import(KeyType::ChaCha20.algorithm()), Some(KeyType::ChaCha20));
    }
}
