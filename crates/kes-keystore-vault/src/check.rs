//! What can be found out at the start rather than at the first request that fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use kes_keystore::{Error, Operation};
use serde::Deserialize;
use serde_json::json;

use crate::config::Version;
use crate::session::Session;

/// A path that is used, and what must be allowed there.
pub(crate) struct Need {
    pub(crate) path: String,
    pub(crate) capabilities: &'static [&'static str],
}

/// Refuses an engine of another version than the one that is configured: with the wrong paths every key seems to exist,
/// or none.
///
/// # Errors
/// [`Error::Failed`] if the version is another one. A server that does not tell is believed.
pub(crate) async fn version(session: &Session, engine: &str, version: Version) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Mount {
        options: Option<BTreeMap<String, String>>,
        r#type: String,
    }
    let path = format!("sys/internal/ui/mounts/{engine}");
    let answer = session.call_json(http::Method::GET, &path, None).await?;
    let Ok(Some(Mount { options, r#type })) = answer.data::<Mount>() else { return Ok(()) };
    let is_v2 = options.as_ref().and_then(|options| options.get("version")).is_some_and(|version| version == "2");
    let remedy = match (r#type.as_str(), version) {
        ("kv" | "generic", Version::V1) if is_v2 => "the engine is K/V version 2: write 'version: v2'",
        ("kv" | "generic", Version::V2) if !is_v2 => "the engine is K/V version 1: write 'version: v1'",
        ("kv" | "generic", _) => return Ok(()),
        _ => "the engine is no K/V engine: name the mount path of one",
    };
    let entry = format!("{}: engine '{engine}'", session.describe());
    Err(Error::Failed { entry, operation: Operation::Status, remedy, source: None })
}

/// One sentence for each thing that is used and not allowed. None if the server does not tell.
pub(crate) async fn missing_capabilities(session: &Session, needs: &[Need]) -> Vec<String> {
    let paths: Vec<_> = needs.iter().map(|need| need.path.as_str()).collect();
    let told = capabilities(session, &paths).await;
    let missing = |need: &Need| {
        let allowed = told.get(&need.path)?;
        let is_allowed = |word: &&str| allowed.iter().any(|granted| granted == word || granted == "root");
        let missing: Vec<_> = need.capabilities.iter().filter(|word| !is_allowed(word)).copied().collect();
        let path = need.path.strip_suffix('x').filter(|path| path.ends_with(['/', '-']));
        let path = path.map_or_else(|| need.path.clone(), |folder| format!("{folder}*"));
        let (verbs, words) = (missing.join(", "), missing.join("\", \""));
        let line = format!("path \"{path}\" {{ capabilities = [\"{words}\"] }}");
        (!missing.is_empty()).then(|| format!("Vault does not permit to {verbs}: add '{line}' to the policy"))
    };
    needs.iter().filter_map(missing).collect()
}

/// Whether something is allowed that had better not be. `root` may do everything, and is somebody's choice.
pub(crate) async fn is_granted(session: &Session, path: &str, capability: &str) -> bool {
    let told = capabilities(session, &[path]).await;
    told.get(path).is_some_and(|allowed| allowed.iter().any(|granted| granted == capability))
}

/// What the token may do on each path; nothing if the server does not tell.
async fn capabilities(session: &Session, paths: &[&str]) -> BTreeMap<String, Vec<String>> {
    let body = json!({ "paths": paths });
    let asked = session.call_json(http::Method::POST, "sys/capabilities-self", Some(&body)).await;
    let Ok(answer) = asked else { return BTreeMap::new() };
    let Ok(Some(told)) = answer.data::<BTreeMap<String, serde_json::Value>>() else { return BTreeMap::new() };
    let lists = told.into_iter().filter_map(|(path, words)| Some((path, serde_json::from_value(words).ok()?)));
    lists.collect()
}

/// An answer that is none, as an error.
pub(crate) fn refused(
    session: &Session,
    what: &str,
    operation: Operation,
    answer: &crate::wire::Answer,
    remedy: &'static str,
) -> Error {
    let entry = format!("{}: {what}", session.describe());
    let source = Some(Arc::new(answer.refusal()) as _);
    match answer.status {
        403 => Error::Unauthorized { entry, remedy, source },
        _ => Error::Failed { entry, operation, remedy, source },
    }
}
