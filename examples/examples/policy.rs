//! Who may do what, and why: policies without a server.
//!
//! `cargo run -p kes-examples --example policy`
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use kes_identity::{ApiKey, Identity};
use kes_policy::{Matching, Policy, PolicySet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An identity is the hash of a public key. Whoever holds the private one is it.
    let backup: Identity = ApiKey::generate()?.identity().clone();

    let allow = ["/v1/key/generate/backup-*", "/v1/key/decrypt/backup-*"];
    let deny = ["/v1/key/*/backup-internal*"];
    let (policy, findings) = Policy::new("backup".parse()?, &allow, &deny, Matching::default());
    for finding in &findings {
        println!("finding: {finding}"); // what a server would warn about
    }
    let policies = PolicySet::builder().policy(policy, [backup.clone()]).build()?;

    let stranger = ApiKey::generate()?.identity().clone();
    for (who, identity) in [("backup", &backup), ("stranger", &stranger)] {
        for path in ["/v1/key/decrypt/backup-2031", "/v1/key/decrypt/backup-internal-1", "/v1/key/delete/backup-2031"] {
            let decision = policies.decide(identity, path);
            let verdict = if decision.is_allowed() { "may" } else { "may not" };
            let rule = decision.rule().map_or("no rule", |rule| rule.as_str());
            println!("{who:<8} {verdict:<7} {path:<34} ({rule})");
        }
    }
    assert!(policies.decide(&backup, "/v1/key/decrypt/backup-2031").is_allowed());
    assert!(!policies.decide(&stranger, "/v1/key/decrypt/backup-2031").is_allowed());
    Ok(())
}
