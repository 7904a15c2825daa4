//! What a certificate says, for logs, metrics and warnings.

use std::net::IpAddr;

use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME};

use super::Error;
use crate::{Identity, x509};

/// What a certificate says about itself. None of it is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The identity of its key.
    pub identity: Identity,
    /// Its subject, as `CN=…, O=…`.
    pub subject: String,
    /// Who signed it, in the same form.
    pub issuer: String,
    /// The DNS names and IP addresses it is valid for, in their order; other names are left out.
    pub names: Vec<String>,
    /// First second of its validity.
    pub not_before: OffsetDateTime,
    /// Last second of its validity.
    pub not_after: OffsetDateTime,
    /// CA:TRUE.
    pub is_ca: bool,
    /// Subject and issuer are the same: it is self-signed, unless someone forged that.
    pub self_issued: bool,
    /// Its extended key usages, by name where known (`clientAuth`), else as number. Empty = all.
    pub usages: Vec<String>,
}

/// Reads a certificate (DER).
///
/// # Errors
/// [`Error::MalformedCertificate`].
pub fn facts(der: &[u8]) -> Result<Facts, Error> {
    read(der).map_err(|_| Error::MalformedCertificate)
}

fn read(der: &[u8]) -> Result<Facts, crate::Error> {
    let certificate = x509::parse(der)?;
    let validity = certificate.validity();
    Ok(Facts {
        identity: Identity::of_spki(certificate.tbs_certificate.subject_pki.raw),
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names: names(&certificate)?,
        not_before: validity.not_before.to_datetime(),
        not_after: validity.not_after.to_datetime(),
        is_ca: x509::is_ca(&certificate)?,
        self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        usages: usages(&certificate)?,
    })
}

/// The extended key usages.
pub(crate) fn usages(certificate: &X509Certificate<'_>) -> Result<Vec<String>, crate::Error> {
    let found = x509::extension(certificate, &OID_X509_EXT_EXTENDED_KEY_USAGE)?;
    let Some(ParsedExtension::ExtendedKeyUsage(usage)) = found else { return Ok(Vec::new()) };
    let known = [
        (usage.any, "any"),
        (usage.client_auth, "clientAuth"),
        (usage.server_auth, "serverAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let named = known.into_iter().filter(|(present, _)| *present).map(|(_, name)| name.to_owned());
    Ok(named.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect())
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, crate::Error> {
    Ok(match x509::extension(certificate, &OID_X509_EXT_SUBJECT_ALT_NAME)? {
        Some(ParsedExtension::SubjectAlternativeName(names)) => names.general_names.iter().filter_map(name).collect(),
        _ => Vec::new(),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?),
                _ => IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
            };
            Some(address.to_string())
        }
        _ => None,
    }
}
