//! Which keys of clients this TLS stack can check.

use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;

use crate::Refusal;

/// Departs from upstream: the old server also took ECDSA P-521 and RSA from 1024 bits, which ring does not.
pub(super) fn check(certificate: &X509Certificate<'_>) -> Result<(), Refusal> {
    let key = certificate.public_key();
    let refused = |what: String| Err(Refusal::UnsupportedKey(what));
    match key.algorithm.algorithm.to_id_string().as_str() {
        "1.3.101.112" => Ok(()),
        "1.2.840.10045.2.1" => match curve(certificate).as_deref() {
            Some("1.2.840.10045.3.1.7" | "1.3.132.0.34") => Ok(()),
            Some("1.3.132.0.35") => refused("ECDSA P-521".to_owned()),
            _ => refused("ECDSA on another curve than P-256 and P-384".to_owned()),
        },
        "1.2.840.113549.1.1.1" => match key.parsed() {
            Ok(PublicKey::RSA(rsa)) => match bits(rsa.modulus) {
                2048..=8192 => Ok(()),
                bits => refused(format!("RSA with {bits} bits")),
            },
            _ => Err(Refusal::Malformed),
        },
        "1.3.101.113" => refused("Ed448".to_owned()),
        "1.2.840.10040.4.1" => refused("DSA".to_owned()),
        "1.2.840.113549.1.1.10" => refused("RSA restricted to PSS".to_owned()),
        other => refused(format!("algorithm {other}")),
    }
}

fn curve(certificate: &X509Certificate<'_>) -> Option<String> {
    let parameters = certificate.public_key().algorithm.parameters.as_ref()?;
    Some(parameters.as_oid().ok()?.to_id_string())
}

fn bits(modulus: &[u8]) -> usize {
    let significant = modulus.iter().skip_while(|byte| **byte == 0);
    let mut bytes = significant.clone();
    bytes.next().map_or(0, |first| significant.count() * 8 - first.leading_zeros() as usize)
}
