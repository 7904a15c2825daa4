//! Managed identities: of App Service and what is built on it, of Azure Arc, of a virtual machine.
//!
//! The SDK knows no Arc, has one address for the metadata service and asks it for more than a minute, so these three are our
//! own. None goes through a proxy.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use azure_core::credentials::AccessToken;
use azure_core::http::Url;
use azure_core::http::headers::HeaderName;
use azure_core::time::OffsetDateTime;
use serde::Deserialize;

use crate::failure::Told;
use crate::login::{Found, variable};
use crate::session::NoToken;
use crate::wire::{Answer, NoAnswer, Wire};

/// Where the metadata service of a virtual machine is.
const METADATA: &str = "http://169.254.169.254";

/// How long it may take to be found, where nobody has said that it is there.
const GLANCE: Duration = Duration::from_secs(1);

/// How long a token lives at least that has just come, where a clock that differs from ours says otherwise.
const LEAST_LIFE: azure_core::time::Duration = azure_core::time::Duration::seconds(60);

/// Where the agent of Arc puts keys, and how long they may be at most.
const ARC_KEYS: &str = "/var/opt/azcmagent/tokens";
const ARC_MAX_KEY: u64 = 4096;
/// Its program, and where it listens if the environment does not tell.
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";
const ARC_ENDPOINT: &str = "http://localhost:40342/metadata/identity/oauth2/token";

const CHECK_IDENTITY: &str =
    "the managed identity was refused: check that it is assigned to this machine or app, and its client ID";

/// Which of the services there is.
enum Service {
    App { endpoint: String, header: String },
    Arc { endpoint: String },
    Machine { endpoint: String, is_certain: bool },
}

impl Service {
    fn here() -> Self {
        let endpoint = variable("IDENTITY_ENDPOINT");
        match (endpoint, variable("IDENTITY_HEADER"), variable("IMDS_ENDPOINT")) {
            (Some(endpoint), Some(header), _) => Self::App { endpoint, header },
            (Some(endpoint), None, Some(_)) => Self::Arc { endpoint },
            _ if Path::new(ARC_AGENT).exists() => Self::Arc { endpoint: ARC_ENDPOINT.to_owned() },
            _ => {
                let said = variable("AZURE_POD_IDENTITY_AUTHORITY_HOST");
                let is_certain = said.is_some();
                let host = said.unwrap_or_else(|| METADATA.to_owned());
                let host = host.trim_end_matches('/');
                Self::Machine { endpoint: format!("{host}/metadata/identity/oauth2/token"), is_certain }
            }
        }
    }
}

/// A token of the identity that was configured.
pub(crate) async fn token(wire: &Wire, client_id: Option<&str>, scope: &str) -> Result<AccessToken, NoToken> {
    ask(wire, &Service::here(), client_id, scope).await
}

/// A token, if there is such a service. `is_known`: the metadata service has given a token before.
pub(crate) async fn look(wire: &Wire, is_known: &AtomicBool, client_id: Option<&str>, scope: &str) -> Found {
    look_at(&Service::here(), wire, is_known, client_id, scope).await
}

async fn look_at(service: &Service, wire: &Wire, is_known: &AtomicBool, client_id: Option<&str>, scope: &str) -> Found {
    let Service::Machine { endpoint, is_certain: false } = service else {
        return Found::Settled(ask(wire, service, client_id, scope).await);
    };
    if !is_known.load(Ordering::Relaxed) {
        let url: Url = endpoint.parse().expect("a constant");
        match wire.is_there(url, GLANCE).await {
            Some(true) => {}
            Some(false) => return Found::Absent("managed identity: there is no metadata service".to_owned()),
            None => return Found::Silent(format!("managed identity: no metadata service answers within {GLANCE:?}")),
        }
    }
    match ask(wire, service, client_id, scope).await {
        Err(none) if !none.is_outage => Found::Absent(format!("managed identity: {}", none.cause)),
        outcome => {
            is_known.fetch_or(outcome.is_ok(), Ordering::Relaxed);
            Found::Settled(outcome)
        }
    }
}

async fn ask(wire: &Wire, service: &Service, client_id: Option<&str>, scope: &str) -> Result<AccessToken, NoToken> {
    let (endpoint, version) = match service {
        Service::App { endpoint, .. } => (endpoint, "2019-08-01"),
        Service::Arc { endpoint } => (endpoint, "2020-06-01"),
        Service::Machine { endpoint, .. } => (endpoint, "2018-02-01"),
    };
    let mut url: Url = endpoint.parse().map_err(|why| {
        let cause = Told::new(format!("'{endpoint}': {why}"));
        NoToken { is_outage: false, remedy: "IDENTITY_ENDPOINT has to be a URL", cause }
    })?;
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
    match (service, client_id) {
        (Service::Arc { .. }, Some(_)) => {
            let remedy =
                "Azure Arc has the identity of the machine only: leave out 'managed_identity' and AZURE_CLIENT_ID";
            return Err(NoToken { is_outage: false, remedy, cause: Told::new("a client ID is given") });
        }
        (_, Some(client_id)) => {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        _ => {}
    }
    let answered = match service {
        Service::App { header, .. } => wire.ask_local(url, &[("X-IDENTITY-HEADER", header)]).await,
        Service::Machine { .. } => wire.ask_local(url, &[("Metadata", "true")]).await,
        Service::Arc { .. } => {
            let challenge = wire.ask_local(url.clone(), &[("Metadata", "true")]).await.map_err(|none| away(&none))?;
            let key = arc_key(&challenge)?;
            let authorization = zeroize::Zeroizing::new(format!("Basic {}", key.trim()));
            wire.ask_local(url, &[("Metadata", "true"), ("Authorization", &authorization)]).await
        }
    };
    read(&answered.map_err(|none| away(&none))?)
}

fn away(none: &NoAnswer) -> NoToken {
    let remedy = "the service for managed identities does not answer: is one assigned to this machine or app?";
    NoToken { is_outage: true, remedy, cause: Told::of(none) }
}

fn read(answer: &Answer) -> Result<AccessToken, NoToken> {
    /// Numbers come as text or as numbers, depending on the service.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Number(i64),
    }
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        expires_in: Option<Number>,
        expires_on: Option<Number>,
    }
    let refused = |remedy, text: String| NoToken { is_outage: false, remedy, cause: Told::new(text) };
    if answer.status != 200 {
        let text = format!("HTTP status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        return match answer.status {
            408 | 429 | 500.. => {
                Err(NoToken { is_outage: true, ..refused("the service for managed identities has failed", text) })
            }
            _ => Err(refused(CHECK_IDENTITY, text)),
        };
    }
    let granted: Granted = serde_json::from_slice(&answer.body)
        .map_err(|_| refused(CHECK_IDENTITY, "the answer holds no token".to_owned()))?;
    let number = |number: Option<Number>| match number? {
        Number::Text(text) => text.trim().parse().ok(),
        Number::Number(number) => Some(number),
    };
    let now = OffsetDateTime::now_utc();
    // How long it still lives is told by some; the others tell when it ends, by a clock that may differ from ours.
    let left =
        number(granted.expires_in).map(|seconds| now.saturating_add(azure_core::time::Duration::seconds(seconds)));
    let end = left.or_else(|| {
        let end = OffsetDateTime::from_unix_timestamp(number(granted.expires_on)?).ok()?;
        Some(end.max(now.saturating_add(LEAST_LIFE)))
    });
    let end =
        end.ok_or_else(|| refused(CHECK_IDENTITY, "the answer does not tell how long the token lives".to_owned()))?;
    Ok(AccessToken::new(granted.access_token, end))
}

/// The key in the file that the agent of Arc names, which only those can read who may have tokens.
fn arc_key(challenge: &Answer) -> Result<zeroize::Zeroizing<String>, NoToken> {
    let refused = |remedy, text: String| NoToken { is_outage: false, remedy, cause: Told::new(text) };
    let header = challenge.headers.get_optional_str(&HeaderName::from_static("www-authenticate")).unwrap_or_default();
    let Some(path) = header.strip_prefix("Basic realm=").filter(|_| challenge.status == 401) else {
        let text = format!("HTTP status {}: {}", challenge.status, String::from_utf8_lossy(&challenge.body));
        return Err(refused("the agent of Azure Arc does not answer as it should", text));
    };
    let path = Path::new(path.trim().trim_matches('"'));
    // Whoever answers in its place must not have any file of ours read to him.
    if path.parent() != Some(Path::new(ARC_KEYS)) || path.extension().is_none_or(|end| end != "key") {
        return Err(refused(
            "the agent of Azure Arc names a file that is none of its keys",
            path.display().to_string(),
        ));
    }
    let mut text = zeroize::Zeroizing::new(String::with_capacity(ARC_MAX_KEY as usize + 1));
    match std::fs::File::open(path).and_then(|file| file.take(ARC_MAX_KEY + 1).read_to_string(&mut text)) {
        Ok(len) if len as u64 <= ARC_MAX_KEY => Ok(text),
        Ok(_) => {
            Err(refused("the agent of Azure Arc names a file that is none of its keys", "it is too long".to_owned()))
        }
        Err(why) => {
            let remedy = "the key of Azure Arc cannot be read: the user of the server has to be in the group 'himds'";
            Err(refused(remedy, format!("{}: {why}", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::headers::Headers;
    use kes_keystore::http::Tls;
    use tokio::net::TcpListener;

    use super::*;

    const SCOPE: &str = "https://vault.azure.net/.default";

    fn wire() -> Wire {
        Wire::new("https://kes.vault.azure.net".parse().unwrap(), &Tls::default()).unwrap()
    }

    async fn look_for(port: u16, is_known: &AtomicBool) -> Found {
        let endpoint = format!("http://127.0.0.1:{port}/metadata/identity/oauth2/token");
        look_at(&Service::Machine { endpoint, is_certain: false }, &wire(), is_known, None, SCOPE).await
    }

    /// A service that is slow at the moment is not taken for none, least of all when it has given tokens before.
    #[tokio::test(start_paused = true)]
    async fn silence_is_not_absence() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let is_known = AtomicBool::new(false);
        assert!(matches!(look_for(port, &is_known).await, Found::Silent(_)));
        is_known.store(true, Ordering::Relaxed);
        let Found::Settled(Err(none)) = look_for(port, &is_known).await else { panic!("it is known to be there") };
        assert!(none.is_outage);
    }

    #[tokio::test]
    async fn a_closed_port_is_absence() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert!(matches!(look_for(closed, &AtomicBool::new(false)).await, Found::Absent(_)));
    }

    /// By a clock of ours that is ahead the token has ended before it came: it is used nevertheless.
    #[test]
    fn a_token_that_has_just_come_lives_for_a_while() {
        let now = OffsetDateTime::now_utc();
        let granted = |fields: &str| {
            let body = format!("{{\"access_token\": \"x\", {fields}}}").into_bytes();
            let token = read(&Answer { status: 200, headers: Headers::new(), body }).unwrap();
            (token.expires_on - now).whole_seconds()
        };
        let earlier = now.unix_timestamp() - 7200;
        assert!(granted(&format!("\"expires_on\": \"{earlier}\"")) >= 60);
        assert!(granted(&format!("\"expires_on\": {}", now.unix_timestamp() + 3600)) >= 3599);
        assert!(granted(&format!("\"expires_in\": 3, \"expires_on\": {earlier}")) < 60, "what is left was told");
    }
}
