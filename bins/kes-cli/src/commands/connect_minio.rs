//! `kes connect minio`: what to tell a MinIO, and the proof that it works.
//!
//! Settings go to standard output, ready to be pasted; all else to standard error. With `--minio-data` the question comes
//! first whether that MinIO was sealed with a key of this server. Only then anything is made: a new default key under the
//! name of the old one would be in the way of the old one for good.

mod data;
mod forms;

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use kes_client::{ApiKey, Client, Error as ClientError, Reason, TlsProblem};
use kes_config::File;
use kes_server::quick::{Folder, MINIO_API_KEY};
use zeroize::Zeroizing;

use crate::args::{ConnectMinio, Global};
use crate::failure::{Failure, Outcome};
use crate::{environment, input, offline, output};
use forms::{Form, Settings};

/// MinIO's default key, unless somebody says otherwise.
const DEFAULT_KEY: &str = "minio-key";

pub(crate) fn run(global: &Global, minio: &ConnectMinio) -> Outcome {
    if global.insecure {
        return Err(Failure::usage("MinIO cannot skip the check of the server's certificate", "kes connect minio")
            .hint("leave out -k: the folder has the authority to trust"));
    }
    let Some(folder) = &minio.folder else { return Err(Failure::usage("no folder specified", "kes connect minio")) };
    let folder = Folder::new(folder).map_err(|error| Failure::new(format!("{error:#}")))?;
    let patience = Patience::new(global.timeout);
    offline(patience.for_folder(&folder))?;
    let api_key = api_key(&folder)?;
    let given = minio.endpoint.clone().or_else(|| global.server.clone()).filter(|given| !given.is_empty());
    let endpoint = given.map_or_else(|| endpoint(&folder.config()), Ok)?;
    let endpoints = environment::server_list(&endpoint);
    let client = client(global, &folder, &endpoints, &api_key)?;

    let evidence = data::evidence(&minio.minio_data)?;
    let key = match (&minio.key, evidence.key_name()) {
        (Some(given), _) => given.clone(),
        (None, Some(sealed)) => sealed.to_owned(),
        (None, None) => DEFAULT_KEY.to_owned(),
    };
    let authority = input::text(&format!("@{}", folder.ca().display()))?;
    let settings = Settings {
        endpoint: &endpoints.join(","),
        key: &key,
        api_key: &api_key,
        ca: &folder.ca(),
        authority: &authority,
        api_key_file: &folder.minio(),
        is_local: endpoints.iter().all(|endpoint| is_loopback(endpoint)),
    };
    let text = settings.render(form(minio));
    // One runtime for all: connections belong to the one that they were opened in.
    offline(async {
        patience.for_server(&client, settings.endpoint).await;
        data::verify(&client, &evidence, &folder).await?;
        output::print(text.as_bytes())?;
        if settings.is_local && minio.k8s {
            input::say(&format!(
                "WARNING: a pod cannot reach {}: let the server listen on all addresses (address: 0.0.0.0:7373), give\n\
                 its certificate the name that pods use (kes server --quick {folder} --dns NAME), and add\n\
                 --endpoint https://NAME:7373\n",
                settings.endpoint
            ))?;
        }
        let made = if prove(&client, &key, &folder).await? { "created" } else { "is there" };
        input::say(&format!(
            "Proved with MinIO's identity at {}: key '{key}' {made}, a data key generated, and opened again.\n",
            settings.endpoint
        ))
    })
}

/// A server that is just starting is waited for: `kes server --quick FOLDER &` is often the line before.
struct Patience {
    until: Instant,
}

impl Patience {
    fn new(timeout: Option<Duration>) -> Self {
        Self { until: Instant::now() + timeout.unwrap_or(Duration::from_secs(10)) }
    }

    async fn for_folder(&self, folder: &Folder) -> Outcome {
        let mut told = false;
        while !folder.is_ready() {
            if Instant::now() >= self.until {
                return Err(Failure::new(format!("{folder} has no configuration")).hint(format!(
                    "`kes server --quick {folder}` makes it and starts a server, `kes init {folder}` only makes it"
                )));
            }
            self.pause(&mut told, format_args!("{folder} to be made")).await?;
        }
        Ok(())
    }

    /// Whatever it answers, it is there. If it is not, what comes next says so.
    async fn for_server(&self, client: &Client, endpoint: &str) {
        let mut told = false;
        while let Err(ClientError::Connection { .. }) = client.version().await {
            if Instant::now() >= self.until
                || self.pause(&mut told, format_args!("a server at {endpoint}")).await.is_err()
            {
                return;
            }
        }
    }

    async fn pause(&self, told: &mut bool, what: impl std::fmt::Display) -> Outcome {
        if !std::mem::replace(told, true) {
            input::say(&format!("Waiting for {what} ...\n"))?;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }
}

fn form(minio: &ConnectMinio) -> Form {
    match minio {
        ConnectMinio { compose: true, .. } => Form::Compose,
        ConnectMinio { k8s: true, .. } => Form::Kubernetes,
        ConnectMinio { systemd: true, .. } => Form::Systemd,
        _ => Form::Environment,
    }
}

/// MinIO's API key, from the line of its environment file.
fn api_key(folder: &Folder) -> Outcome<Zeroizing<String>> {
    let path = folder.minio();
    let text = input::text(&format!("@{}", path.display()))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix(MINIO_API_KEY)?.strip_prefix('='));
    match line.map(str::trim).filter(|key| ApiKey::parse_prefixed(key).is_ok()) {
        Some(key) => Ok(Zeroizing::new(key.to_owned())),
        None => Err(Failure::new(format!("{} has no line {MINIO_API_KEY}=kes:v1:...", path.display()))
            .hint("write MinIO's API key into it, the one whose identity the policy names")),
    }
}

/// Where the server of this file can be reached from this machine.
fn endpoint(path: &Path) -> Outcome<String> {
    // References that are only set for the server's process say nothing about its address.
    let value = |name: &str| environment::process(name).or_else(|| Some("unset".to_owned()));
    let loaded = File::read(path).and_then(|file| file.environment(value).load());
    let address = loaded
        .map_err(|error| {
            Failure::new(error.to_string()).hint("or say where the server is: --endpoint https://HOST:PORT")
        })?
        .config
        .address;
    Ok(match address.ip() {
        None | Some(IpAddr::V4(_)) if address.ip().is_none_or(|ip| ip.is_unspecified()) => {
            format!("https://127.0.0.1:{}", address.port())
        }
        Some(ip) if ip.is_unspecified() => format!("https://[::1]:{}", address.port()),
        _ => format!("https://{}", address.socket_addr()),
    })
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.trim_start_matches("https://").split('/').next().unwrap_or_default();
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(host, _)| host);
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A client as MinIO is one: its API key, and no trust but in the folder's authority.
fn client(global: &Global, folder: &Folder, endpoints: &[String], api_key: &str) -> Outcome<Client> {
    let key: ApiKey = api_key.parse().map_err(|error| Failure::of(&error))?;
    let mut builder = Client::builder().endpoints(endpoints.to_vec()).api_key(key).ca_path(folder.ca());
    if let Some(limit) = global.timeout {
        builder = builder.deadline(Some(limit)).try_timeout(limit.min(Duration::from_secs(15)));
    }
    builder.build().map_err(|error| Failure::of(&error))
}

/// Does what MinIO does at its start and for each object. Answers whether the key is new.
async fn prove(client: &Client, key: &str, folder: &Folder) -> Outcome<bool> {
    // What MinIO binds to the data key of an object.
    let context = kes_crypto::static_key::context([("kes-connect", "kes-connect/proof")]);
    let failed = |what: &'static str| move |error: ClientError| refused(error, folder).while_doing(what);
    let made = match client.create_key(key).await {
        Ok(()) => true,
        Err(ClientError::Server(refusal)) if refusal.reason() == Some(Reason::KeyExists) => false,
        Err(error) => return Err(failed("creating the key")(error)),
    };
    let data_key = client.generate_key(key, &context).await.map_err(failed("generating a data key"))?;
    let opened = client.decrypt(key, &data_key.ciphertext, &context).await.map_err(failed("opening the data key"))?;
    if opened.expose() != data_key.plaintext.expose() {
        return Err(Failure::new("the server opened another data key than it had generated"));
    }
    Ok(made)
}

/// What to do is known better here than elsewhere: whose server it should be, and that nobody skips the check of its
/// certificate.
fn refused(error: ClientError, folder: &Folder) -> Failure {
    let hint = match &error {
        ClientError::Tls(tls) => match tls.problem() {
            TlsProblem::UnknownIssuer => format!(
                "another server answers there, not that of {folder}: stop it, or give this one a port of its own, \
                 'address' in {}",
                folder.config().display()
            ),
            TlsProblem::WrongName => format!(
                "this adds a name to its certificate, at any start: kes server --quick {folder} --dns NAME (or --ip ADDRESS)"
            ),
            _ => return Failure::from(error),
        },
        ClientError::Connection { .. } | ClientError::Timeout { .. } => {
            format!("is the server running? `kes server --quick {folder}` starts it; --endpoint names another address")
        }
        _ => return Failure::from(error),
    };
    Failure::from(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_endpoints_are_known() {
        for local in ["https://127.0.0.1:7373", "https://[::1]:7373", "https://localhost", "https://127.0.0.9"] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in ["https://kes.example.net:7373", "https://10.0.0.1", "https://[fe80::1]:7373"] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }

    #[test]
    fn the_endpoint_follows_from_the_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yml");
        for (address, expected) in [
            ("127.0.0.1:7373", "https://127.0.0.1:7373"),
            ("0.0.0.0:1", "https://127.0.0.1:1"),
            (":2", "https://127.0.0.1:2"),
            ("'[::]:3'", "https://[::1]:3"),
            ("10.0.0.9:4", "https://10.0.0.9:4"),
            ("'[fd00::1]:5'", "https://[fd00::1]:5"),
        ] {
            let more = "admin: {identity: disabled}\ntls: {key: k, cert: c, password: '${NOT_SET_HERE}'}\nkeystore: {fs: {path: p}}";
            std::fs::write(&path, format!("address: {address}\n{more}\n")).unwrap();
            assert_eq!(endpoint(&path).unwrap(), expected);
        }
    }
}
