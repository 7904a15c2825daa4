//! The one place that reads certificates. All questions of this crate go through one parser, so that two readings of one
//! certificate cannot disagree about its key or about CA:TRUE.

use x509_parser::asn1_rs::Oid;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::Error;

/// Parses a certificate of any X.509 version; nothing may follow it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Error::MalformedCertificate),
    }
}

/// Whether a public key (SubjectPublicKeyInfo in DER) is of the kind of the certificate's: RSA, elliptic curve, Ed25519.
pub(crate) fn is_of_kind(certificate: &X509Certificate<'_>, spki: &[u8]) -> bool {
    let kind = |key: &SubjectPublicKeyInfo<'_>| key.algorithm.algorithm.to_id_string();
    SubjectPublicKeyInfo::from_der(spki)
        .is_ok_and(|(_, key)| kind(&key) == kind(&certificate.tbs_certificate.subject_pki))
}

/// Whether the certificate says CA:TRUE.
pub(crate) fn is_ca(certificate: &X509Certificate<'_>) -> Result<bool, Error> {
    Ok(match extension(certificate, &OID_X509_EXT_BASIC_CONSTRAINTS)? {
        Some(ParsedExtension::BasicConstraints(constraints)) => constraints.ca,
        _ => false,
    })
}

/// An extension by its number. One that cannot be read, or stands there twice, is an error: x509-parser's own accessors take
/// an unreadable extension for an absent one.
pub(crate) fn extension<'a, 'b>(
    certificate: &'b X509Certificate<'a>,
    oid: &Oid<'_>,
) -> Result<Option<&'b ParsedExtension<'a>>, Error> {
    match certificate.get_extension_unique(oid) {
        Ok(None) => Ok(None),
        Ok(Some(found)) if found.parsed_extension().error().is_none() => Ok(Some(found.parsed_extension())),
        _ => Err(Error::MalformedCertificate),
    }
}
