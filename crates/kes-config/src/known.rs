//! All keys there are, and what is said about others.
//!
//! The table is the file's format in one place. Sections assert (in debug builds) that what they read stands here, so a
//! key cannot be built and forgotten; what is not here is warned about, with the nearest key or the place it belongs to.

use crate::error::Place;
use crate::nearest::nearest;
use crate::section::Context;
use crate::yaml::{Node, Value};
use std::collections::BTreeMap;

/// Keys that hold a value. `*` stands for a free name, `[]` for the elements of a list; the blocks in between follow.
const KEYS: &[&str] = &[
    "version",
    "address",
    "admin.identity",
    "tls.key",
    "tls.cert",
    "tls.password",
    "tls.auth",
    "tls.ca",
    "tls.renew.ca",
    "tls.renew.key",
    "tls.proxy.identities",
    "tls.proxy.header.cert",
    "tls.proxy.admin",
    "api.*.skip_auth",
    "api.*.timeout",
    "policy.*.allow",
    "policy.*.deny",
    "policy.*.identities",
    "cache.expiry.any",
    "cache.expiry.unused",
    "cache.expiry.offline",
    "cache.max_keys",
    "log.error",
    "log.audit",
    "log.format",
    "log.audit_events",
    "log.audit_on_full",
    "log.audit_file.path",
    "log.audit_file.sync",
    "keys[].name",
    "compat.legacy_routes",
    "compat.legacy_messages",
    "compat.ephemeral_policies",
    "compat.policy_match",
    "compat.skip_auth_any_route",
    "limits.connections",
    "limits.rate",
    "limits.concurrency",
    "limits.handshake",
    "limits.header",
    "limits.idle",
    "limits.drain",
    "probe.address",
    "keystore.fs.path",
    "keystore.static.key",
    "keystore.static.file",
    "keystore.vault.endpoint",
    "keystore.vault.engine",
    "keystore.vault.version",
    "keystore.vault.namespace",
    "keystore.vault.prefix",
    "keystore.vault.mode",
    "keystore.vault.agent",
    "keystore.vault.transit.engine",
    "keystore.vault.transit.key",
    "keystore.vault.approle.engine",
    "keystore.vault.approle.namespace",
    "keystore.vault.approle.id",
    "keystore.vault.approle.secret",
    "keystore.vault.kubernetes.engine",
    "keystore.vault.kubernetes.namespace",
    "keystore.vault.kubernetes.role",
    "keystore.vault.kubernetes.jwt",
    "keystore.vault.token.value",
    "keystore.vault.token.file",
    "keystore.vault.cert.engine",
    "keystore.vault.cert.role",
    "keystore.vault.tls.key",
    "keystore.vault.tls.cert",
    "keystore.vault.tls.ca",
    "keystore.vault.status.ping",
    "keystore.aws.secretsmanager.endpoint",
    "keystore.aws.secretsmanager.region",
    "keystore.aws.secretsmanager.kmskey",
    "keystore.aws.secretsmanager.prefix",
    "keystore.aws.secretsmanager.tags.*",
    "keystore.aws.secretsmanager.credentials.accesskey",
    "keystore.aws.secretsmanager.credentials.secretkey",
    "keystore.aws.secretsmanager.credentials.token",
    "keystore.aws.kms.endpoint",
    "keystore.aws.kms.region",
    "keystore.aws.kms.key",
    "keystore.aws.kms.mac_key",
    "keystore.aws.kms.prefix",
    "keystore.aws.kms.credentials.accesskey",
    "keystore.aws.kms.credentials.secretkey",
    "keystore.aws.kms.credentials.token",
    "keystore.azure.keyvault.endpoint",
    "keystore.azure.keyvault.names",
    "keystore.azure.keyvault.purge",
    "keystore.azure.keyvault.credentials.tenant_id",
    "keystore.azure.keyvault.credentials.client_id",
    "keystore.azure.keyvault.credentials.client_secret",
    "keystore.azure.keyvault.managed_identity.client_id",
    "keystore.azure.keyvault.tls.ca",
    "keystore.gcp.secretmanager.project_id",
    "keystore.gcp.secretmanager.endpoint",
    "keystore.gcp.secretmanager.scopes",
    "keystore.gcp.secretmanager.credentials.client_email",
    "keystore.gcp.secretmanager.credentials.client_id",
    "keystore.gcp.secretmanager.credentials.private_key_id",
    "keystore.gcp.secretmanager.credentials.private_key",
    "keystore.fortanix.sdkms.endpoint",
    "keystore.fortanix.sdkms.group_id",
    "keystore.fortanix.sdkms.credentials.key",
    "keystore.fortanix.sdkms.tls.ca",
    "keystore.gemalto.keysecure.endpoint",
    "keystore.gemalto.keysecure.credentials.token",
    "keystore.gemalto.keysecure.credentials.domain",
    "keystore.gemalto.keysecure.tls.ca",
    "keystore.entrust.keycontrol.endpoint",
    "keystore.entrust.keycontrol.vault_id",
    "keystore.entrust.keycontrol.box_id",
    "keystore.entrust.keycontrol.credentials.username",
    "keystore.entrust.keycontrol.credentials.password",
    "keystore.entrust.keycontrol.tls.ca",
    "keystore.generic.endpoint",
    "keystore.generic.tls.key",
    "keystore.generic.tls.cert",
    "keystore.generic.tls.ca",
    "keystore.kes.endpoint",
    "keystore.kes.enclave",
    "keystore.kes.tls.key",
    "keystore.kes.tls.cert",
    "keystore.kes.tls.ca",
    "keystore.seal.store",
    "keystore.seal.passphrase",
    "keystore.seal.passphrase_file",
    "keystore.seal.key",
    "keystore.seal.key_file",
    "keystore.seal.credential",
    "keystore.seal.recovery",
    "keystore.seal.aws.endpoint",
    "keystore.seal.aws.region",
    "keystore.seal.aws.key",
    "keystore.seal.aws.credentials.accesskey",
    "keystore.seal.aws.credentials.secretkey",
    "keystore.seal.aws.credentials.token",
    "keystore.seal.azure.endpoint",
    "keystore.seal.azure.key",
    "keystore.seal.azure.credentials.tenant_id",
    "keystore.seal.azure.credentials.client_id",
    "keystore.seal.azure.credentials.client_secret",
    "keystore.seal.azure.managed_identity.client_id",
    "keystore.seal.azure.tls.ca",
    "keystore.seal.vault.endpoint",
    "keystore.seal.vault.namespace",
    "keystore.seal.vault.engine",
    "keystore.seal.vault.key",
    "keystore.seal.vault.agent",
    "keystore.seal.vault.approle.engine",
    "keystore.seal.vault.approle.namespace",
    "keystore.seal.vault.approle.id",
    "keystore.seal.vault.approle.secret",
    "keystore.seal.vault.kubernetes.engine",
    "keystore.seal.vault.kubernetes.namespace",
    "keystore.seal.vault.kubernetes.role",
    "keystore.seal.vault.kubernetes.jwt",
    "keystore.seal.vault.token.value",
    "keystore.seal.vault.token.file",
    "keystore.seal.vault.cert.engine",
    "keystore.seal.vault.cert.role",
    "keystore.seal.vault.tls.key",
    "keystore.seal.vault.tls.cert",
    "keystore.seal.vault.tls.ca",
];

/// The vendors and kinds of key stores: the blocks directly below `keystore`.
pub(crate) const STORES: &[&str] =
    &["fs", "static", "vault", "aws", "azure", "gcp", "fortanix", "gemalto", "entrust", "generic", "kes"];

/// Keys whose values must not be shown, as patterns. `keystore.vault.kubernetes.jwt` may also be a path, which may.
const SECRETS: &[&str] = &[
    "tls.password",
    "keystore.static.key",
    "keystore.vault.approle.secret",
    "keystore.vault.kubernetes.jwt",
    "keystore.vault.token.value",
    "keystore.aws.secretsmanager.credentials.secretkey",
    "keystore.aws.secretsmanager.credentials.token",
    "keystore.aws.kms.credentials.secretkey",
    "keystore.aws.kms.credentials.token",
    "keystore.azure.keyvault.credentials.client_secret",
    "keystore.gcp.secretmanager.credentials.private_key",
    "keystore.fortanix.sdkms.credentials.key",
    "keystore.gemalto.keysecure.credentials.token",
    "keystore.entrust.keycontrol.credentials.password",
    "keystore.seal.passphrase",
    "keystore.seal.key",
    "keystore.seal.aws.credentials.secretkey",
    "keystore.seal.aws.credentials.token",
    "keystore.seal.azure.credentials.client_secret",
    "keystore.seal.vault.approle.secret",
    "keystore.seal.vault.kubernetes.jwt",
    "keystore.seal.vault.token.value",
];

/// Whether the value at a pattern must not be shown.
pub(crate) fn is_secret(pattern: &str) -> bool {
    SECRETS.contains(&pattern)
}

/// The position of a key or block in the table: the order in which a file is written anew.
pub(crate) fn position(pattern: &str) -> usize {
    KEYS.iter().position(|key| is_within(key, pattern)).unwrap_or(KEYS.len())
}

/// Whether a dotted path is the other one, or stands within it.
pub(crate) fn is_within(path: &str, block: &str) -> bool {
    let rest = path.strip_prefix(block);
    rest.is_some_and(|rest| block.is_empty() || matches!(rest.bytes().next(), None | Some(b'.' | b'[')))
}

/// A key within a block, as a dotted path.
pub(crate) fn join(block: &str, key: &str) -> String {
    if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") }
}

/// Whether a pattern is a key of the table or a block on the way to one.
pub(crate) fn is_known(pattern: &str) -> bool {
    KEYS.iter().any(|key| is_within(key, pattern))
}

/// The keys directly within a block.
fn keys_of<'a>(block: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    let rest = move |key: &'static str| match block {
        "" => Some(key),
        _ => key.strip_prefix(block)?.strip_prefix('.'),
    };
    KEYS.iter().filter_map(move |key| rest(key)).map(|rest| rest.split(['.', '[']).next().unwrap_or(rest))
}

/// The blocks that have such a key. Blocks of a store do not count for a key outside: their keys are much alike.
fn blocks_with(name: &str, block: &str) -> Vec<&'static str> {
    let mut blocks: Vec<_> = KEYS
        .iter()
        .flat_map(|key| key.match_indices(name).map(move |(at, _)| (key, at)))
        .filter(|(key, at)| matches!(key.as_bytes().get(at + name.len()), None | Some(b'.' | b'[')) && *at > 0)
        .filter(|(key, at)| key.as_bytes()[at - 1] == b'.' && !name.contains(['.', '*']))
        .map(|(key, at)| &key[..at - 1])
        .filter(|found| !found.starts_with("keystore.") || block.starts_with("keystore"))
        .collect();
    blocks.dedup();
    blocks
}

/// Where each known key stands, by its dotted path.
pub(crate) fn places(root: &Node, context: &Context<'_>) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::from([(String::new(), context.place(1, ""))]);
    add_places(root, "", "", context, &mut places);
    places
}

fn add_places(node: &Node, pattern: &str, path: &str, context: &Context<'_>, places: &mut BTreeMap<String, Place>) {
    match &node.value {
        Value::Mapping(mapping) => {
            for entry in &mapping.entries {
                let patterns = [entry.key.as_str(), "*"].map(|name| join(pattern, name));
                let Some(pattern) = patterns.into_iter().find(|pattern| is_known(pattern)) else { continue };
                let path = join(path, &entry.key);
                places.insert(path.clone(), context.place(entry.line, path.clone()));
                add_places(&entry.value, &pattern, &path, context, places);
            }
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                places.insert(path.clone(), context.place(item.line, path.clone()));
                add_places(item, &format!("{pattern}[]"), &path, context, places);
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Warns about every key that is not known, and about every `${` that is not replaced.
pub(crate) fn survey(root: &Node, context: &Context<'_>) {
    Survey { context }.visit(root, Some(""), "");
}

struct Survey<'a> {
    context: &'a Context<'a>,
}

impl Survey<'_> {
    /// `pattern` is `None` within a block that is not known itself.
    fn visit(&self, node: &Node, pattern: Option<&str>, path: &str) {
        match &node.value {
            Value::Scalar(scalar) => {
                if scalar.text.contains("${") && !self.context.is_reference(node) {
                    self.literal(node.line, path);
                }
            }
            Value::Sequence(items) => {
                let pattern = pattern.map(|pattern| format!("{pattern}[]"));
                for (index, item) in items.iter().enumerate() {
                    self.visit(item, pattern.as_deref(), &format!("{path}[{index}]"));
                }
            }
            Value::Mapping(mapping) => {
                for entry in &mapping.entries {
                    let path = join(path, &entry.key);
                    if entry.key.contains("${") {
                        self.literal(entry.line, &path);
                    }
                    let below = pattern.and_then(|block| self.pattern_of(block, &entry.key, entry.line, &path));
                    self.visit(&entry.value, below.as_deref(), &path);
                }
            }
        }
    }

    /// The pattern of a key in a known block, or a warning.
    fn pattern_of(&self, block: &str, key: &str, line: usize, path: &str) -> Option<String> {
        let found = [key, "*"].map(|name| join(block, name)).into_iter().find(|pattern| is_known(pattern));
        // `retry` was honoured up to 2023-02-15; the sample file of the old server and the Operator still write it.
        if found.is_some() || key == "retry" && block.starts_with("keystore.") || !is_block(block) {
            return found;
        }
        let shown = if block.is_empty() { "the file".to_owned() } else { format!("'{}'", parent(path)) };
        let message = format!("unknown key '{key}' in {shown}: it has no effect");
        self.context.warn(self.context.place(line, path), message, advice(key, block));
        None
    }

    fn literal(&self, line: usize, path: &str) {
        let message = "'${' is taken literally here: no environment variable is put in its place";
        let hint = "a reference is the whole value, `${NAME}`; in `version`, in patterns and in names there is none";
        self.context.warn(self.context.place(line, path), message, Some(hint.to_owned()));
    }
}

/// Whether the table has keys within that pattern: a mapping where a value belongs is refused by whoever reads it.
pub(crate) fn is_block(pattern: &str) -> bool {
    keys_of(pattern).next().is_some()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(parent, _)| parent)
}

/// What was probably meant.
fn advice(key: &str, block: &str) -> Option<String> {
    if (key, block) == ("kms", "") {
        let text = "'kms' was a second layer of encryption that v0.7 alone had: what it sealed, only v0.7 can read";
        return Some(text.to_owned());
    }
    let places = blocks_with(key, block);
    if let [place] = places.as_slice() {
        return Some(format!("'{key}' belongs below '{place}'"));
    }
    if let Some(meant) = nearest(key, keys_of(block).filter(|name| *name != "*")) {
        return Some(format!("did you mean '{meant}'?"));
    }
    match places.as_slice() {
        [] => None,
        [first, .., last] => Some(format!("'{key}' belongs below '{first}' or '{last}'")),
        [place] => Some(format!("'{key}' belongs below '{place}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The keys of the tables of a page: a heading in backquotes is the block, the first cell of a row has the keys.
    fn keys_of_page(page: &str) -> BTreeSet<String> {
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let (mut block, mut keys) = (String::new(), BTreeSet::new());
        for line in page.lines() {
            if line.starts_with("##") {
                block = quoted(line).pop().unwrap_or_default().replace("<name>", "*").replace("<path>", "*");
            } else if let Some(row) = line.strip_prefix("| `") {
                let cell = format!("`{}", row.split(" |").next().unwrap());
                keys.extend(quoted(&cell).iter().map(|key| join(&block, key)));
            }
        }
        keys
    }

    #[test]
    fn the_operators_page_has_every_key_and_no_other() {
        let page = include_str!("../../../docs/configuration.md");
        let known: BTreeSet<_> = KEYS.iter().map(|key| (*key).to_owned()).collect();
        let written = keys_of_page(page);
        let missing: Vec<_> = known.difference(&written).collect();
        let unknown: Vec<_> = written.difference(&known).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:#?}\nunknown: {unknown:#?}");
    }
}
