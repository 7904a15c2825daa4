//! One server: is it there, is it what it says, is it well?

use std::time::Duration;

use kes_client::{Client, Error, Look, TlsProblem};
use kes_crypto::rfc3339;
use time::OffsetDateTime;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::report::Report;
use super::settings::Settings;
use crate::failure::chain;
use crate::input::reason;

/// A certificate that ends sooner is warned about.
const SOON: time::Duration = time::Duration::days(30);

/// A difference of clocks that is warned about; a `Date` header is a second old at most.
const ODD: time::Duration = time::Duration::seconds(5);

/// A difference of clocks that breaks things.
const WRONG: time::Duration = time::Duration::minutes(5);

const LOOKUP_HINT: &str = "is the name spelled right, and known on this machine?";

/// Whether a connection can be made at all. A proxy of the environment makes them for us.
pub(super) async fn reach(endpoint: &str, settings: &Settings, report: &mut Report) -> bool {
    let authority = authority(endpoint);
    if std::env::var_os("HTTPS_PROXY").or_else(|| std::env::var_os("https_proxy")).is_some_and(|url| !url.is_empty()) {
        return true;
    }
    let addresses: Vec<_> = match timeout(settings.patience(), lookup_host(authority.as_str())).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            report.problem(format!("its name cannot be resolved: {}", reason(&error)), LOOKUP_HINT);
            return false;
        }
        Err(_) => {
            report.problem("its name cannot be resolved: no answer in time", LOOKUP_HINT);
            return false;
        }
    };
    let mut last = "no address".to_owned();
    for address in &addresses {
        match timeout(settings.patience(), TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                report.good(format!("reachable at {address}"));
                return true;
            }
            Ok(Err(error)) => last = format!("connect to {address}: {}", reason(&error)),
            Err(_) => last = format!("connect to {address}: no answer within {:?}", settings.patience()),
        }
    }
    report.problem(
        format!("not reachable: {last}"),
        "does the server run, on this port (usually 7373), and does a firewall let us through?",
    );
    false
}

/// Host and port. A URL without port means 443, as for MinIO.
fn authority(endpoint: &str) -> String {
    let rest = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    let authority = rest.split('/').next().unwrap_or(rest);
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if has_port { authority.to_owned() } else { format!("{authority}:443") }
}

/// Whether both sides accept each other; looks at certificate, version and clock on the way.
pub(super) async fn trust(client: &Client, settings: &Settings, report: &mut Report) -> bool {
    match look(client).await {
        Ok(look) => {
            certificate(&look, settings, report);
            report.good(format!("answers as kes {}", look.version));
            clock(look.clock, report);
            true
        }
        Err(Error::Tls(error)) => {
            let ours = matches!(error.problem(), TlsProblem::CertificateRequired | TlsProblem::CertificateRefused(_));
            if ours {
                report.good("its certificate is trusted");
            }
            let text = error.to_string();
            let text = text.split_once("\": ").map_or(text.as_str(), |(_, why)| why);
            let hint = match error.problem() {
                TlsProblem::UnknownIssuer => format!("{}: {}", error.hint(), settings.trust_hint()),
                _ => error.hint(),
            };
            let who = if ours { "it refuses us" } else { "it is not trusted" };
            report.problem(format!("{who}: {text}"), hint);
            false
        }
        Err(Error::Server(refusal)) if refusal.status() != 404 => {
            report.problem(format!("it answers {}: {refusal}", refusal.status()), "its log says more");
            false
        }
        Err(error @ Error::Connection { .. }) => {
            let text = format!("it closed the connection: {}", chain(&error));
            report.problem(text, "a server that verifies clients (`tls.auth: on`) closes on API keys and unknown authorities; else, is this the port of a kes server?");
            false
        }
        Err(error) => {
            report.problem(
                format!("it does not answer as a kes server: {}", chain(&error)),
                "is this the port of a kes server?",
            );
            false
        }
    }
}

/// A refusal of our certificate comes with the first answer, and the HTTP client may notice the closed connection before it
/// reads why. So it is asked a few times.
async fn look(client: &Client) -> Result<Look, Error> {
    const TRIES: usize = 4;
    for _ in 1..TRIES {
        match client.look().await {
            Err(Error::Connection { .. }) => {}
            other => return other,
        }
    }
    client.look().await
}

fn certificate(look: &Look, settings: &Settings, report: &mut Report) {
    let Some(shown) = &look.certificate else { return };
    let what = format!("its certificate '{}' for {}", shown.subject, shown.names.join(", "));
    if settings.is_insecure() {
        report.warn(
            format!("{what} is not verified (-k)"),
            "leave -k out: whoever sits on the network can read every key",
        );
    } else {
        report.good(format!("{what} is trusted, until {}", shown.not_after));
    }
    let Some(end) = rfc3339::parse(&shown.not_after) else { return };
    let left = end - OffsetDateTime::now_utc();
    if left.is_negative() {
        report.problem(format!("its certificate has expired on {}", shown.not_after), "renew it on the server");
    } else if left < SOON {
        let text = format!("its certificate expires in {} days, on {}", left.whole_days(), shown.not_after);
        report.warn(text, "renew it on the server; it takes a changed file up within seconds");
    }
}

fn clock(theirs: Option<OffsetDateTime>, report: &mut Report) {
    let Some(clock) = theirs else { return };
    let ahead = clock - OffsetDateTime::now_utc();
    let (way, apart) = if ahead.is_negative() { ("behind", -ahead) } else { ("ahead of", ahead) };
    let text = || format!("its clock is {:?} {way} ours", Duration::from_secs(apart.whole_seconds().unsigned_abs()));
    let hint = "synchronise both clocks: certificates are judged by them";
    if apart > WRONG {
        report.problem(text(), hint);
    } else if apart > ODD {
        report.warn(text(), hint);
    } else {
        report.good("its clock and ours agree");
    }
}

/// Whether it is well. What it does not tell us is a question of rights, which come later.
pub(super) async fn health(client: &Client, report: &mut Report) {
    let hint = "its log and `kes status` say more";
    match client.status().await {
        Ok(status) if status.keystore_unreachable || status.keystore_unavailable => {
            report.problem("its key store cannot be reached", hint);
        }
        Ok(status) => {
            report.good("its key store can be reached");
            if let Some(at) = status.reload_failed_at {
                let text =
                    format!("it runs with an old configuration: the last reload failed at {}", rfc3339::format(at));
                report.warn(text, "`kes-server check` tells what is wrong with the new one");
            }
        }
        Err(Error::Server(refusal)) if refusal.status() == 403 => match client.ready().await {
            Ok(()) => report.good("its key store can be reached"),
            Err(Error::Server(refusal)) if matches!(refusal.status(), 502 | 504) => {
                report.problem(format!("its key store cannot be reached: {refusal}"), hint);
            }
            Err(_) => {}
        },
        Err(error) => report.problem(format!("it does not tell its status: {}", chain(&error)), hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(seconds: i64) -> (bool, String) {
        let mut report = Report::default();
        let clock = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        super::clock(Some(clock), &mut report);
        let text = serde_json::to_string(&report).unwrap();
        (report.is_good(), text)
    }

    #[test]
    fn clocks_may_be_apart_a_little() {
        assert!(clocks(-2).1.contains("agree"));
        let (good, text) = clocks(-60);
        assert!(good && text.contains("behind ours") && text.contains("\"warnings\":1"), "{text}");
        let (good, text) = clocks(7200);
        assert!(!good && text.contains("ahead of ours"), "{text}");
    }

    #[test]
    fn a_server_without_port_is_asked_on_443() {
        let cases = [
            ("https://kes", "kes:443"),
            ("https://kes:7373/path", "kes:7373"),
            ("https://[::1]:7373", "[::1]:7373"),
            ("https://[::1]", "[::1]:443"),
        ];
        for (endpoint, expected) in cases {
            assert_eq!(authority(endpoint), expected);
        }
    }
}
