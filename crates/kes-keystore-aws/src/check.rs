//! What can be found out at the start rather than at the first request that fails.
//!
//! IAM has no question "may I?" that everybody may ask, so each call is made once. A secret, or an alias, of a name that no
//! key can have is made for it and removed at once. Removing is tried first: what could not be removed is not made.

use std::future::Future;
use std::time::Duration;

use kes_keystore::{Error, KeyStore, Operation};

use crate::account::unusable;
use crate::engine::KmsEngine;
use crate::failure::{Failure, Refusal};
use crate::state::{self, Fault, fault_of};
use crate::store::{Store, judge};
use crate::wire::KEY_REFUSED;

/// The name for what is made and removed. A hyphen at its beginning: it is no key name.
const NAME: &str = "-kes-check";

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What has come to light, one sentence each.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, notice: String) {
        if !self.0.contains(&notice) {
            self.0.push(notice);
        }
    }

    fn missing(&mut self, permission: &str, resources: &[String]) {
        let resources = match resources {
            [one] => format!("\"{one}\""),
            several => format!("[\"{}\"]", several.join("\", \"")),
        };
        let statement = format!(r#"{{"Effect": "Allow", "Action": "{permission}", "Resource": {resources}}}"#);
        self.add(format!("AWS does not permit {permission}: add {statement} to the policy"));
    }

    /// Whether a call was permitted. If not, AWS names what is missing, or it is what was asked for.
    fn permits<T>(
        &mut self,
        outcome: Result<T, Failure>,
        asked: &str,
        resources: &[String],
        key: &[String],
    ) -> Result<Option<T>, Failure> {
        let refusal = match outcome {
            Ok(answer) => return Ok(Some(answer)),
            Err(Failure::Refused(refusal)) if !KEY_REFUSED.contains(&refusal.code.as_str()) => refusal,
            Err(failure) => return Err(failure),
        };
        match (refusal.permission(), Fault::told(&refusal)) {
            (Some(named), _) if named.starts_with("kms:") => self.missing(named, key),
            (Some(named), _) if refusal.is_denied() => self.missing(named, resources),
            (None, Some(Fault::Denied)) if !asked.starts_with("kms:") => self.add(Fault::Denied.remedy().to_owned()),
            _ if refusal.is_denied() => self.missing(asked, resources),
            (_, Some(fault)) if fault != Fault::Missing => self.add(fault.remedy().to_owned()),
            // Permitted, and refused for another reason: there is nothing of this name, or there is already.
            _ => {}
        }
        Ok(None)
    }
}

/// Within the patience. That AWS cannot be asked now is no reason to stay down.
async fn patiently(findings: impl Future<Output = Result<Findings, Failure>> + Send) -> Result<Vec<String>, Refusal> {
    let unknown = |why: &str| vec![format!("whether AWS permits everything that is needed was not found out: {why}")];
    match tokio::time::timeout(PATIENCE, findings).await {
        Ok(Ok(findings)) => Ok(findings.0),
        Ok(Err(Failure::Refused(refusal))) => Err(refusal),
        Ok(Err(Failure::Unreachable { remedy, .. })) => Ok(unknown(remedy)),
        Ok(Err(Failure::NoCredentials(error))) => Ok(unknown(&error.to_string())),
        Err(_) => Ok(unknown("it does not answer in time")),
    }
}

/// Notes what is not permitted of what the store does.
///
/// # Errors
/// If the access key is not accepted.
pub(crate) async fn secrets_manager(store: &mut Store) -> Result<(), Error> {
    let found = patiently(secrets(store)).await;
    for notice in found.map_err(|refusal| judge(store.describe(), Operation::Status, refusal))? {
        if !store.notices.contains(&notice) {
            store.notices.push(notice);
        }
    }
    Ok(())
}

async fn secrets(store: &Store) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    let region = &store.account.region;
    let id = format!("{}{NAME}", store.prefix);
    let all = ["*".to_owned()];
    let ours = [format!("arn:{}:secretsmanager:{region}:*:secret:{}*", partition(region), store.prefix)];
    let key = [key_resource(store.kmskey.as_deref().unwrap_or("alias/aws/secretsmanager"), region)];

    findings.permits(store.page("", None).await, "secretsmanager:ListSecrets", &all, &key)?;
    findings.permits(store.describe_secret(&id).await, "secretsmanager:DescribeSecret", &ours, &key)?;
    let removed = findings.permits(store.remove(&id).await, "secretsmanager:DeleteSecret", &ours, &key)?;
    if removed.is_some() {
        let token = crate::token(&id, Operation::Status).map_err(Failure::NoCredentials)?;
        let made = store.write(&id, b"whether this may be made, read and removed", &token).await;
        findings.permits(made, "secretsmanager:CreateSecret", &ours, &key)?;
    } else {
        let why = "what it makes could not be removed";
        findings.add(format!("whether AWS permits secretsmanager:CreateSecret was not tried: {why}"));
    }
    findings.permits(store.read(&id).await, "secretsmanager:GetSecretValue", &ours, &key)?;
    if removed.is_some() {
        // It may be gone already: another server looks as well.
        let _ = store.remove(&id).await;
    }
    Ok(findings)
}

/// What is the matter with the KMS key, or that it may not be looked at.
///
/// # Errors
/// If the access key is not accepted, or the KMS key cannot be one.
pub(crate) async fn key_of(store: &Store) -> Result<Vec<String>, Error> {
    let Some(key) = &store.kmskey else { return Ok(Vec::new()) };
    let entry = || format!("{}: KMS key '{key}'", store.describe());
    let described = tokio::time::timeout(PATIENCE, state::describe(&store.kms, &store.describe(), key)).await;
    let region = &store.account.region;
    match described {
        Ok(Ok(found)) => match found.as_ref().and_then(fault_of) {
            Some(Fault::WrongUse) => Err(unusable(entry(), Fault::WrongUse.remedy(), None)),
            Some(fault) => Ok(vec![format!("{}: {}", entry(), fault.remedy())]),
            None => Ok(Vec::new()),
        },
        Ok(Err(Failure::Refused(refusal))) if refusal.is_denied() => {
            let mut findings = Findings::default();
            findings.missing("kms:DescribeKey", &[key_resource(key, region)]);
            Ok(findings.0)
        }
        Ok(Err(Failure::Refused(refusal))) if !KEY_REFUSED.contains(&refusal.code.as_str()) => {
            let fault = Fault::told(&refusal).unwrap_or(Fault::Missing);
            Err(unusable(entry(), fault.remedy(), Some(std::sync::Arc::new(refusal))))
        }
        Ok(Err(Failure::Refused(refusal))) => Err(judge(entry(), Operation::Status, refusal)),
        Ok(Err(_)) | Err(_) => Ok(vec![format!("{}: KMS does not answer, so the key was not looked at", entry())]),
    }
}

/// What is not permitted of what the engine does.
///
/// # Errors
/// If the access key is not accepted.
pub(crate) async fn engine(engine: &KmsEngine) -> Result<Vec<String>, Error> {
    let refused = |refusal| crate::kms::judge(engine.describe(), Operation::Status, refusal);
    patiently(uses(engine)).await.map_err(refused)
}

async fn uses(engine: &KmsEngine) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    let region = &engine.kms.account.region;
    let all = ["*".to_owned()];
    let key = [engine.arn.clone()];
    let aliases = [format!("arn:{}:kms:{region}:*:{}*", partition(region), engine.alias("")), engine.arn.clone()];

    findings.permits(engine.aliases(None).await, "kms:ListAliases", &all, &key)?;
    match engine.remove_alias(NAME).await {
        Err(Failure::Refused(refusal)) if refusal.is_denied() => {
            findings.missing("kms:DeleteAlias", &aliases);
            findings
                .add("whether AWS permits kms:CreateAlias was not tried: what it makes could not be removed".into());
        }
        _ => {
            findings.permits(engine.make_alias(NAME).await, "kms:CreateAlias", &aliases, &aliases)?;
            // It may be gone already: another server looks as well.
            let _ = engine.remove_alias(NAME).await;
        }
    }
    let context = || engine.context(NAME, b"");
    let made = engine.kms.data_key(&engine.arn, context()).await;
    let made = findings.permits(made, "kms:GenerateDataKey", &key, &key)?;
    let sealed = engine.kms.encrypt(&engine.arn, NAME.as_bytes(), context()).await;
    let sealed = findings.permits(sealed, "kms:Encrypt", &key, &key)?;
    match made.map(|(_, sealed)| sealed).or(sealed) {
        Some(sealed) => {
            let opened = engine.kms.decrypt(&engine.arn, &sealed.blob, context()).await;
            findings.permits(opened, "kms:Decrypt", &key, &key)?;
        }
        None => findings.add("whether AWS permits kms:Decrypt was not tried: there is nothing to decrypt".into()),
    }
    if let Some(mac_key) = &engine.mac_key {
        let resource = [key_resource(mac_key, region)];
        findings.permits(engine.sum(NAME.as_bytes().to_vec()).await, "kms:GenerateMac", &resource, &resource)?;
    }
    Ok(findings)
}

/// The part of AWS that a region belongs to, as ARNs name it.
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    }
}

/// A KMS key as a policy names it. That of an alias has to be looked up: policies take no aliases as keys.
fn key_resource(key: &str, region: &str) -> String {
    match key.starts_with("arn:") && key.contains(":key/") {
        true => key.to_owned(),
        false if key.contains("alias/") => format!("arn:{}:kms:{region}:*:key/*", partition(region)),
        false => format!("arn:{}:kms:{region}:*:key/{key}", partition(region)),
    }
}
