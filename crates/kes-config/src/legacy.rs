//! Old spellings, rewritten to today's before the file is read (config.md 8, decision 31).
//!
//! Each is warned about with the new spelling. The same setting in both spellings is fine while they agree; where they do
//! not, nobody can know which one was meant, and the file is refused.

use crate::error::{Error, ErrorKind};
use crate::scalar;
use crate::section::Context;
use crate::yaml::{Entry, Mapping, Node, Value};
use std::rc::Rc;

/// Rewrites all of them.
pub(crate) fn translate(root: &mut Node, context: &Context<'_>) {
    let Value::Mapping(root) = &mut root.value else { return };
    let mut spelling = Spelling { root, context };
    spelling.rename(&["root"], &["admin", "identity"]);
    spelling.rename(&["cache", "expiry", "all"], &["cache", "expiry", "any"]);
    spelling.client_verification();
    spelling.rename(&["tls", "client", "verify_cert"], &["tls", "auth"]);
    spelling.drop_empty(&["tls", "client"]);
    if spelling.find(&["keys"]).is_some_and(|node| node.as_mapping().is_some()) {
        spelling.rename(&["keys"], &["keystore"]);
    }
    spelling.rename(&["keystore", "secretsmanager"], &["keystore", "aws", "secretsmanager"]);
    spelling.rename(&["keystore", "aws", "secrets_manager"], &["keystore", "aws", "secretsmanager"]);
    let aws = |keys: &[&'static str]| [&["keystore", "aws", "secretsmanager"][..], keys].concat();
    spelling.rename(&aws(&["address"]), &aws(&["endpoint"]));
    spelling.rename(&aws(&["kms_key_id"]), &aws(&["kmskey"]));
    for (old, new) in [("access_key", "accesskey"), ("secret_key", "secretkey"), ("session_token", "token")] {
        spelling.rename(&aws(&["credentials", old]), &aws(&["credentials", new]));
    }
    spelling.rename(&["keystore", "vault", "address"], &["keystore", "vault", "endpoint"]);
    spelling.rename(&["keystore", "vault", "name"], &["keystore", "vault", "prefix"]);
    for name in spelling.names(&["policy"]) {
        spelling.rename(&["policy", &name, "paths"], &["policy", &name, "allow"]);
    }
    spelling.log_files("error", None);
    spelling.log_files("audit", Some(&["log", "audit_file", "path"]));
}

struct Spelling<'a> {
    root: &'a mut Mapping,
    context: &'a Context<'a>,
}

impl Spelling<'_> {
    fn find(&self, path: &[&str]) -> Option<&Node> {
        let (last, blocks) = path.split_last()?;
        let mut mapping: &Mapping = self.root;
        for block in blocks {
            mapping = mapping.find(block)?.as_mapping()?;
        }
        mapping.find(last).map(|node| &**node)
    }

    fn names(&self, path: &[&str]) -> Vec<String> {
        let mapping = self.find(path).and_then(Node::as_mapping);
        mapping.into_iter().flat_map(|mapping| mapping.entries.iter().map(|entry| entry.key.clone())).collect()
    }

    /// The block at a path, for changing; missing blocks are made if a `line` is given for them. `None` if it is missing
    /// or something on the way is no block.
    fn block(&mut self, path: &[&str], line: Option<usize>) -> Option<&mut Mapping> {
        let mut mapping: &mut Mapping = self.root;
        for block in path {
            let missing = mapping.find(block).is_none_or(|node| node.is_null());
            if let (true, Some(line)) = (missing, line) {
                mapping.set(block, line, Rc::new(Node::empty_mapping(line)));
            }
            let entry = mapping.entries.iter_mut().find(|entry| entry.key == *block)?;
            match &mut Rc::make_mut(&mut entry.value).value {
                Value::Mapping(found) => mapping = found,
                _ => return None,
            }
        }
        Some(mapping)
    }

    /// Moves what stands under an old path to the new one.
    fn rename(&mut self, old: &[&str], new: &[&str]) {
        if self.find(old).is_none_or(Node::is_null) {
            return; // as absent as before
        }
        let Some((old_key, old_block)) = old.split_last() else { return };
        let Some((new_key, new_block)) = new.split_last() else { return };
        let Some(Entry { line, value, .. }) = self.block(old_block, None).and_then(|block| block.remove(old_key))
        else {
            return;
        };
        if value.is_empty() {
            return;
        }
        let (old, new) = (old.join("."), new.join("."));
        let place = self.context.place(line, &old);
        let Some(block) = self.block(new_block, Some(line)) else { return };
        let message = match block.find(new_key).filter(|node| !node.is_empty()) {
            None => {
                block.set(new_key, line, value);
                format!("'{old}' is the old spelling of '{new}'")
            }
            Some(node) if node.same_as(&value) => format!("'{old}' is the old spelling of '{new}', which is there too"),
            Some(_) => {
                let text =
                    format!("kesconf: '{old}' is the old spelling of '{new}', and both are set to different values");
                let error = Error::new(ErrorKind::Invalid, text).at(place);
                self.context.refuse(error.hint(format!("remove '{old}' if '{new}' is right")));
                return;
            }
        };
        self.context.translated(place.clone(), &new);
        self.context.warn(place, message, Some(format!("write '{new}' instead of '{old}'")));
    }

    /// `tls.client.verify_cert` also knew `true` and `false`.
    fn client_verification(&mut self) {
        let Some(block) = self.block(&["tls", "client"], None) else { return };
        let Some(node) = block.find("verify_cert") else { return };
        let word = match node.as_scalar().and_then(|scalar| scalar::bool_word(&scalar.text)) {
            Some(true) => "on",
            Some(false) => "off",
            None => return,
        };
        let line = node.line;
        block.set("verify_cert", line, Rc::new(Node::scalar(line, word)));
    }

    fn drop_empty(&mut self, path: &[&str]) {
        let Some((key, block)) = path.split_last() else { return };
        if self.find(path).and_then(Node::as_mapping).is_some_and(|mapping| mapping.entries.is_empty())
            && let Some(block) = self.block(block, None)
        {
            block.remove(key);
        }
    }

    /// `log.<name>.file` of v0.5 to v0.7: a list of files, today a level and, for the audit log, one file.
    fn log_files(&mut self, name: &str, target: Option<&[&str]>) {
        let Some(files) = self.find(&["log", name, "file"]) else { return };
        let first = match &files.value {
            Value::Sequence(items) => items.iter().find(|item| !item.is_empty()).cloned(),
            _ if files.is_empty() => None,
            _ => Some(Rc::new(files.clone())),
        };
        let line = files.line;
        let (level, to) = match (name, target.map(|target| target.join("."))) {
            ("audit", Some(path)) => (Node::scalar(line, "on"), format!("the first file goes to '{path}'")),
            _ => (Node::scalar(line, "on"), "errors go to standard error".to_owned()),
        };
        if let Some(log) = self.block(&["log"], None) {
            log.set(name, line, Rc::new(level));
        }
        if let (Some(first), Some((key, block))) = (first, target.and_then(<[&str]>::split_last))
            && let Some(block) = self.block(block, Some(line))
            && block.find(key).is_none_or(|node| node.is_empty())
        {
            block.set(key, line, first);
        }
        let message = format!("'log.{name}.file' is an old spelling: {to}");
        let hint = match name {
            "audit" => "write 'log.audit: on' and 'log.audit_file.path'",
            _ => "write 'log.error: on', and redirect standard error",
        };
        let place = self.context.place(line, format!("log.{name}.file"));
        self.context.translated(place.clone(), format!("log.{name}"));
        if let Some(target) = target {
            self.context.translated(place.clone(), target.join("."));
        }
        self.context.warn(place, message, Some(hint.to_owned()));
    }
}
