//! Where a service is: the endpoint as operators write it, and the region that it tells.

/// The ends of hosts that are AWS's own, in every partition.
const AWS: [&str; 10] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".api.aws",
    ".api.amazonwebservices.com.cn",
    ".amazonaws.eu",
    ".api.amazonwebservices.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".csp.hci.ic.gov",
    ".cloud.adc-e.uk",
];

/// An endpoint that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// With scheme, without a slash at its end.
    pub(crate) url: String,
    /// As it was written: for the banner and for errors.
    pub(crate) written: String,
    /// What the host tells of the region.
    pub(crate) region: Option<String>,
    /// It is AWS itself, not something that answers in its place.
    pub(crate) is_aws: bool,
    /// It is one of the endpoints with validated cryptography.
    pub(crate) fips: bool,
    /// It has IPv6 addresses as well.
    pub(crate) dual_stack: bool,
}

impl Endpoint {
    /// Reads a host, with or without a port, or a URL.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn parse(text: &str, service: &str) -> Result<Self, &'static str> {
        const FORM: &str = "write the endpoint as a host or as https://host, without user name and path";
        let written = text.trim().trim_end_matches('/').to_owned();
        let url = if text.contains("://") { written.clone() } else { format!("https://{written}") };
        let uri: http::Uri = url.parse().map_err(|_| FORM)?;
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let plain = uri.path().len() <= 1 && uri.query().is_none() && !authority.contains('@');
        if !matches!(uri.scheme_str(), Some("http" | "https")) || host.is_empty() || !plain {
            return Err(FORM);
        }
        if host.ends_with(".amazonaws") {
            return Err("the endpoint lacks its end: write '.amazonaws.com'");
        }
        let is_aws = AWS.iter().any(|end| host.ends_with(end));
        let labels: Vec<_> = host.split('.').collect();
        let fips_service = format!("{service}-fips");
        let place = labels.iter().position(|label| *label == service || *label == fips_service);
        if is_aws && place.is_none() {
            return Err("the endpoint belongs to another service of AWS");
        }
        let region = place.and_then(|place| labels.get(place + 1)).filter(|label| is_region(label));
        Ok(Self {
            url,
            written,
            region: region.map(ToString::to_string),
            is_aws,
            fips: labels.contains(&fips_service.as_str()),
            dual_stack: host.contains(".api.a"),
        })
    }
}

/// Whether a text looks like a region: `eu-central-1`, `us-gov-west-1`, `us-isob-east-1`, `eusc-de-east-1`.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-').rev();
    let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let words: Vec<_> = parts.collect();
    number
        && (2..=4).contains(&words.len())
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// The region in the ARN of a KMS key or alias, if that is what the text is.
pub(crate) fn region_of_arn(text: &str) -> Option<&str> {
    let mut parts = text.strip_prefix("arn:")?.split(':');
    let region = parts.nth(2)?;
    (!region.is_empty()).then_some(region)
}

/// The region in which everything is, of those that are told.
///
/// # Errors
/// What to write instead if two differ.
pub(crate) fn region(
    written: Option<&str>,
    endpoint: Option<&Endpoint>,
    keys: &[&str],
) -> Result<Option<String>, &'static str> {
    let written = written.map(str::trim).filter(|region| !region.is_empty());
    let of_endpoint = endpoint.and_then(|endpoint| endpoint.region.as_deref());
    if written.is_some_and(|region| !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')) {
        return Err("the region is the name of one, such as eu-central-1");
    }
    if let (Some(written), Some(of_endpoint)) = (written, of_endpoint)
        && written != of_endpoint
    {
        return Err("'region' and the region in 'endpoint' differ: requests would be signed for the wrong one");
    }
    let told = written.or(of_endpoint);
    for of_key in keys.iter().filter_map(|key| region_of_arn(key)) {
        if told.is_some_and(|region| region != of_key) {
            return Err("the KMS key is in another region: it has to be in the region of the service");
        }
    }
    Ok(told.or_else(|| keys.iter().find_map(|key| region_of_arn(key))).map(ToOwned::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Endpoint {
        Endpoint::parse(text, "secretsmanager").unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn endpoints_of_every_kind_tell_their_region() {
        for (text, region) in [
            ("secretsmanager.us-east-2.amazonaws.com", "us-east-2"),
            ("https://secretsmanager.eu-central-1.amazonaws.com/", "eu-central-1"),
            ("secretsmanager.eu-central-1.amazonaws.com:443", "eu-central-1"),
            ("https://secretsmanager-fips.us-west-2.amazonaws.com", "us-west-2"),
            ("secretsmanager.us-east-1.api.aws", "us-east-1"),
            ("secretsmanager-fips.us-east-1.api.aws", "us-east-1"),
            ("secretsmanager.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
            ("secretsmanager.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("secretsmanager.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1"),
            ("secretsmanager.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
            ("secretsmanager.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
            ("https://vpce-0a1b-2c3d.secretsmanager.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
            ("vpce-0a1b-2c3d-eu-west-1a.secretsmanager.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ] {
            let endpoint = parse(text);
            assert_eq!(endpoint.region.as_deref(), Some(region), "{text}");
            assert!(endpoint.is_aws && endpoint.url.starts_with("https://"), "{text}");
            assert_eq!(endpoint.fips, text.contains("-fips"), "{text}");
            assert_eq!(endpoint.dual_stack, text.contains("api."), "{text}");
        }
    }

    #[test]
    fn others_are_taken_as_they_are() {
        for text in ["http://127.0.0.1:5566", "localhost:17500", "https://moto.internal", "[::1]:4566"] {
            let endpoint = parse(text);
            assert!(!endpoint.is_aws && endpoint.region.is_none(), "{text}");
        }
        assert_eq!(parse("localhost:17500").url, "https://localhost:17500");
        assert_eq!(parse("http://127.0.0.1:5566/").url, "http://127.0.0.1:5566");
    }

    #[test]
    fn what_cannot_be_one_is_refused_with_what_to_write() {
        for (text, says) in [
            ("", "as a host"),
            ("https://", "as a host"),
            ("https:///", "as a host"),
            ("ftp://host", "as a host"),
            ("https://user:pass@host", "as a host"),
            ("https://host/path", "as a host"),
            ("two words", "as a host"),
            ("secretsmanager.us-east-2.amazonaws", "'.amazonaws.com'"),
            ("kms.us-east-2.amazonaws.com", "another service"),
        ] {
            assert!(Endpoint::parse(text, "secretsmanager").unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn regions_that_differ_are_refused_and_one_is_enough() {
        let (endpoint, moto) = (parse("secretsmanager.eu-west-1.amazonaws.com"), parse("http://127.0.0.1:5566"));
        let arn = "arn:aws:kms:eu-west-1:111122223333:key/0f1e";
        let found = |written, endpoint, key: &str| region(written, endpoint, &[key]);
        assert_eq!(found(None, Some(&endpoint), "alias/a"), Ok(Some("eu-west-1".to_owned())));
        assert_eq!(found(Some("eu-west-1"), Some(&endpoint), arn), Ok(Some("eu-west-1".to_owned())));
        assert_eq!(found(Some("any-place-9"), Some(&moto), ""), Ok(Some("any-place-9".to_owned())));
        assert_eq!(found(None, None, arn), Ok(Some("eu-west-1".to_owned())));
        assert_eq!(found(Some(" "), None, "0f1e"), Ok(None));
        assert!(found(Some("us-east-1"), Some(&endpoint), "").unwrap_err().contains("differ"));
        assert!(found(Some("us-east-1"), None, arn).unwrap_err().contains("another region"));
        assert!(found(None, Some(&endpoint), "arn:aws:kms:us-east-1:1:alias/a").unwrap_err().contains("another"));
        assert!(found(Some("eu west"), None, "").unwrap_err().contains("name of one"));
    }
}
