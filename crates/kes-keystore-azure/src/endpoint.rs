//! Where a vault is, and where to log in for it.

use azure_core::http::Url;

/// The ends of hosts, and the login of the cloud that they belong to.
const CLOUDS: [(&str, &str); 6] = [
    (".vault.azure.cn", CHINA),
    (".managedhsm.azure.cn", CHINA),
    (".vaultcore.azure.cn", CHINA),
    (".vault.usgovcloudapi.net", GOVERNMENT),
    (".managedhsm.usgovcloudapi.net", GOVERNMENT),
    (".vaultcore.usgovcloudapi.net", GOVERNMENT),
];

const CHINA: &str = "https://login.chinacloudapi.cn";
const GOVERNMENT: &str = "https://login.microsoftonline.us";
const PUBLIC: &str = "https://login.microsoftonline.com";

const FORM: &str = "write the endpoint as https://<name>.vault.azure.net, without user name and path";

/// An endpoint that can be used.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    /// For the banner and for errors, without a slash at its end.
    pub(crate) shown: String,
}

impl Endpoint {
    /// Reads a host, with or without a port, or a URL.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = with_scheme(text).ok_or(FORM)?;
        let plain = url.path().len() <= 1 && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !url.has_host() || !plain || !anonymous {
            return Err(FORM);
        }
        if url.scheme() != "https" {
            return Err("Key Vault is reached by https only: write https:// in the endpoint");
        }
        Ok(Self { shown: url.as_str().trim_end_matches('/').to_owned(), url })
    }

    /// Whether what answers there is a part of this machine: a tunnel, or something that stands in for Key Vault. The
    /// resource that it names says nothing about it then.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Where to log in: what was said, else what belongs to the cloud.
    ///
    /// # Errors
    /// What to write instead.
    pub(crate) fn authority(&self, said: Option<&str>) -> Result<String, &'static str> {
        let host = self.url.host_str().unwrap_or_default();
        let known = CLOUDS.iter().find(|(end, _)| host.ends_with(end)).map_or(PUBLIC, |(_, login)| login);
        let Some(said) = said.map(str::trim).filter(|said| !said.is_empty()) else { return Ok(known.to_owned()) };
        match with_scheme(said) {
            Some(url) if url.scheme() == "https" && url.has_host() => Ok(url.as_str().trim_end_matches('/').to_owned()),
            _ => Err("AZURE_AUTHORITY_HOST has to be a URL with https://, such as https://login.microsoftonline.us"),
        }
    }
}

fn with_scheme(text: &str) -> Option<Url> {
    let text = text.trim();
    match text.contains("://") {
        true => text.parse().ok(),
        false => format!("https://{text}").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Endpoint {
        Endpoint::parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"))
    }

    #[test]
    fn endpoints_of_every_cloud_know_their_login() {
        for (text, shown, login) in [
            ("https://kes-prod-7.vault.azure.net", "https://kes-prod-7.vault.azure.net", PUBLIC),
            ("https://kes-prod-7.vault.azure.net/", "https://kes-prod-7.vault.azure.net", PUBLIC),
            ("kes-prod-7.vault.azure.net", "https://kes-prod-7.vault.azure.net", PUBLIC),
            ("hsm.managedhsm.azure.net", "https://hsm.managedhsm.azure.net", PUBLIC),
            ("kes.vault.azure.cn", "https://kes.vault.azure.cn", CHINA),
            ("KES.vault.usgovcloudapi.net", "https://kes.vault.usgovcloudapi.net", GOVERNMENT),
            ("hsm.managedhsm.usgovcloudapi.net", "https://hsm.managedhsm.usgovcloudapi.net", GOVERNMENT),
            ("kes.privatelink.vaultcore.azure.cn", "https://kes.privatelink.vaultcore.azure.cn", CHINA),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443", PUBLIC),
            ("[::1]:8443", "https://[::1]:8443", PUBLIC),
        ] {
            let endpoint = parse(text);
            assert_eq!((endpoint.shown.as_str(), endpoint.authority(None)), (shown, Ok(login.to_owned())), "{text}");
        }
        let endpoint = parse("kes.vault.azure.cn");
        assert_eq!(endpoint.authority(Some("https://login.local:1/")).as_deref(), Ok("https://login.local:1"));
        assert_eq!(endpoint.authority(Some("login.local")).as_deref(), Ok("https://login.local"));
        assert_eq!(endpoint.authority(Some(" ")).as_deref(), Ok(CHINA));
        assert!(endpoint.authority(Some("http://login.local")).is_err());
    }

    #[test]
    fn only_this_machine_may_name_any_resource() {
        for text in ["https://localhost:1", "127.0.0.1:8443", "[::1]"] {
            assert!(parse(text).is_loopback(), "{text}");
        }
        for text in ["kes.vault.azure.localhost:1", "10.0.0.1", "localhost.example.com"] {
            assert!(!parse(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_one_is_refused_with_what_to_write() {
        for (text, says) in [
            ("", "write the endpoint"),
            ("https://", "write the endpoint"),
            ("two words", "write the endpoint"),
            ("https://user:pass@host", "without user name"),
            ("https://host/secrets", "without user name and path"),
            ("http://kes.vault.azure.net", "https only"),
        ] {
            assert!(Endpoint::parse(text).unwrap_err().contains(says), "{text}");
        }
    }
}
