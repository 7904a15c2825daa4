//! The whole HTTP service inside another program: keys in memory, an API key made for this run.
//!
//! `cargo run -p kes-examples --example server`, then the command it prints. Ctrl-C ends it.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use kes_api::server::{Build, Options, Server, Settings, State};
use kes_identity::{ApiKey, Certificate, KeyKind, Template, Verification};
use kes_keystore::{Cache, cache, memory};
use kes_policy::{Matching, Policy, PolicySet};
use time::{Duration, OffsetDateTime};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What clients see: a certificate for the loopback interface.
    let now = OffsetDateTime::now_utc();
    let mut template = Template::new("localhost", now - Duration::HOUR, now + Duration::DAY);
    template.ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let certificate = Certificate::self_signed(KeyKind::EcdsaP256, &template)?;

    // Who may do what: one client, with the rights of an application. There is no administrator.
    let api_key = ApiKey::generate()?;
    let allow = ["/v1/key/create/*", "/v1/key/generate/*", "/v1/key/decrypt/*"];
    let deny: [&str; 0] = [];
    let (policy, _) = Policy::new("app".parse()?, &allow, &deny, Matching::default());
    let policies = PolicySet::builder().policy(policy, [api_key.identity().clone()]).build()?;

    // Where keys live. The store calls run on this runtime; requests have threads of their own.
    let keys = Cache::new(Arc::new(memory::Store::default()), cache::Settings::default());

    let state = State::new("disabled", policies, keys, &certificate, Verification::Any, Settings::default())?;
    let build = Build { version: "example".to_owned(), commit: String::new() };
    let server = Server::bind("127.0.0.1:0".parse()?, state, Options::new(build))?;
    let (handle, address) = (server.handle(), server.local_addr()?);

    let roots = std::env::temp_dir().join(format!("kes-example-{}.crt", address.port()));
    std::fs::write(&roots, certificate.to_pem())?;
    println!("Listening on https://{address}. In another terminal:\n");
    println!("    KES_SERVER=https://{address} KES_CA={} \\", roots.display());
    println!("    KES_API_KEY={} \\", api_key.to_text().expose());
    println!("    cargo run -p kes-examples --example client\n");

    let serving = tokio::spawn(server.serve());
    tokio::signal::ctrl_c().await?;
    handle.shutdown(); // requests in flight finish
    serving.await??;
    std::fs::remove_file(roots)?;
    Ok(())
}
