//! From a file to a [`Config`].

use crate::address::Address;
use crate::config::{Config, Sections};
use crate::error::{Error, ErrorKind, Place, Warning, io_words};
use crate::inspection::Inspection;
use crate::policy::PolicySource;
use crate::section::{Context, Refused, Section, TOML};
use crate::{api, compat, keystore, known, legacy, limits, log, modern, policy, tls, yaml};
use kes_policy::Matching;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Longer files are no configurations.
const MAX_LEN: usize = 4 << 20;

/// How environment variables are looked up.
type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The text of a configuration file, and what is around it: environment and command line.
pub struct File {
    name: Arc<str>,
    text: Zeroizing<String>,
    environment: Environment,
    root: Option<String>,
    address: Option<String>,
}

/// A configuration, and what should be said about its file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What an operator should know, in the order of the file.
    pub warnings: Vec<Warning>,
    /// Harmless things, for whoever asks for all of them.
    pub notes: Vec<Warning>,
    /// Where the policies stand, in the order of the file.
    pub policies: Vec<PolicySource>,
}

impl File {
    /// Reads a file, of at most 4 MiB. References are looked up in the environment of the process.
    ///
    /// # Errors
    /// [`ErrorKind::Unreadable`] if it cannot be opened or read, [`ErrorKind::Syntax`] if it is no text.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let name = path.as_ref().display().to_string();
        let mut file = std::fs::File::open(&path).map_err(|cause| {
            let text = format!("open {name}: {}", io_words(&cause));
            Error::new(ErrorKind::Unreadable, text).because(cause)
        })?;
        let mut bytes = Zeroizing::new(Vec::new());
        let limit = MAX_LEN as u64 + 1;
        std::io::Read::read_to_end(&mut std::io::Read::take(&mut file, limit), &mut bytes).map_err(|cause| {
            let text = format!("yaml: input error: read {name}: {}", io_words(&cause));
            Error::new(ErrorKind::Unreadable, text).because(cause)
        })?;
        let text = decode(&bytes).map_err(|text| {
            let error = Error::new(ErrorKind::Syntax, text).at(Place {
                file: name.as_str().into(),
                line: 1,
                key: String::new(),
            });
            error.hint("the file must be text in UTF-8")
        })?;
        Ok(Self::from_text(name, text))
    }

    /// A file that is already in memory, under a name for messages.
    pub fn from_text(name: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: Zeroizing::new(text.into()),
            environment: Box::new(|name| std::env::var(name).ok()),
            root: None,
            address: None,
        }
    }

    /// Looks references up here instead of in the environment of the process.
    #[must_use]
    pub fn environment(mut self, lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.environment = Box::new(lookup);
        self
    }

    /// Sets the value of `--root`: the administrator, if the file names none.
    #[must_use]
    pub fn root(mut self, identity: impl Into<String>) -> Self {
        self.root = Some(identity.into());
        self
    }

    /// Sets the value of `--addr`, which wins over `address`.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Reads all sections and judges them in the order of config.md 3. Opens no file but those that hold a token or key
    /// as `keystore.vault.kubernetes.jwt` and `keystore.static.file` name them.
    ///
    /// # Errors
    /// The first mistake, with its place and what to write instead. Never [`ErrorKind::Store`] or
    /// [`ErrorKind::Unsupported`], which come from [`Config::open_store`].
    pub fn load(&self) -> Result<Loaded, Error> {
        let context = Context::new(&self.name, &*self.environment);
        let tree = self.tree(&context)?;
        let Judgement { judged, early, .. } = self.judge(&tree, &context);
        if let Some(error) = context.first_error(early) {
            return Err(error);
        }
        let Judged { sections, notes, policies } = judged;
        let config = sections.complete().expect("what is not there was refused");
        known::survey(&tree, &context);
        Ok(Loaded { config, warnings: context.take_warnings(), notes, policies })
    }

    /// Reads all sections as [`load`](Self::load) does, and tells **all** that is wrong instead of the first mistake.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        let context = Context::new(&self.name, &*self.environment);
        let tree = match self.tree(&context) {
            Ok(tree) => tree,
            Err(error) => return Inspection::unreadable(error),
        };
        let Judgement { judged, stateful, .. } = self.judge(&tree, &context);
        known::survey(&tree, &context);
        let errors = context.all_errors();
        let Judged { sections, notes, .. } = judged;
        let modern = (!stateful).then(|| modern::write(&tree, &context));
        let (modern, secrets) = modern.map_or((None, false), |(text, secrets)| (Some(text), secrets));
        let places = known::places(&tree, &context);
        Inspection { sections, errors, warnings: context.take_warnings(), notes, modern, secrets, places }
    }

    /// The file as a tree, in today's spelling.
    fn tree(&self, context: &Context<'_>) -> Result<yaml::Node, Error> {
        if self.text.len() > MAX_LEN {
            let text = format!("yaml: the file is longer than {MAX_LEN} bytes");
            return Err(Error::new(ErrorKind::Syntax, text).at(context.place(1, "")));
        }
        let tree = yaml::parse(&self.text).map_err(|fault| {
            let error = Error::new(ErrorKind::Syntax, fault.text).at(context.place(fault.line, ""));
            match self.name.ends_with(".toml") {
                true => error.hint(TOML),
                false => error.hint("check the indentation, and quote values with any of : # { [ & * ! | > ' \" % @ `"),
            }
        })?;
        let mut tree = tree.ok_or_else(|| empty(context))?;
        legacy::translate(&mut tree, context);
        Ok(tree)
    }

    /// Reads and judges everything, in the order of the old server. What is wrong is in the context.
    fn judge(&self, tree: &yaml::Node, context: &Context<'_>) -> Judgement {
        let root = &context.root(tree);
        let _told = tls::check_version(root);
        if tls::check_stateful(root).is_err() {
            return Judgement { judged: Judged::default(), early: context.refused(), stateful: true };
        }
        let early = context.refused();
        Judgement { judged: self.judge_sections(root), early, stateful: false }
    }

    fn judge_sections(&self, root: &Section<'_>) -> Judged {
        let admin = tls::read_admin(root, self.root.as_deref());
        let tls = tls::read(root);
        if let Ok(admin) = &admin {
            tls::check_proxies(root, &tls.proxies, admin);
        }
        let drafts = policy::read(root);
        policy::check(root, &drafts, admin.as_ref().ok(), &tls.proxies);
        let cache = limits::read_cache(root);
        let log = log::read(root);
        let compat = compat::read(root);
        let api = api::build(&api::read(root), compat.as_ref().ok());
        let keys = limits::read_keys(root);
        limits::check_keys(root, &keys);
        let store = keystore::read(root);
        let limits = limits::read_limits(root);
        let probe = limits::read_probe(root);
        let address = self.read_address(root);
        let matching = compat.as_ref().map_or_else(|_| Matching::default(), |compat| compat.policy_match);
        let policies = policy::build(root, &drafts, matching);
        let keys = limits::name_keys(root, &keys);
        for Warning { message, place, hint } in policies.warnings {
            root.context().warn(place, message, hint);
        }
        let mut places = places(root);
        if self.address.is_some() {
            places.retain(|place| place.key != "address");
        }
        let (notes, policies, sources) = (policies.notes, policies.set, policies.sources);
        let sections = Sections {
            address: address.ok(),
            admin: admin.ok(),
            tls: tls.tls.ok(),
            api,
            policies,
            cache,
            log: log.ok(),
            keys,
            limits: Some(limits),
            compat: compat.ok(),
            probe: probe.ok(),
            store: store.ok(),
            places,
        };
        Judged { sections, notes, policies: sources }
    }

    fn read_address(&self, root: &Section<'_>) -> Result<Address, Refused> {
        let written = root.filled("address");
        let address = match (&self.address, &written) {
            (Some(flag), _) => Address::parse(flag, None),
            (None, Some(text)) => Address::parse(text.as_str(), Some(text.place.clone())),
            (None, None) => Address::parse(Address::DEFAULT, None),
        };
        address.map_err(|error| root.refuse(error))
    }
}

/// What became of a file.
struct Judgement {
    judged: Judged,
    /// How much was refused before the sections were read.
    early: usize,
    /// It is the file of another server, and its sections were not read.
    stateful: bool,
}

/// What became of the sections.
#[derive(Default)]
struct Judged {
    sections: Sections,
    notes: Vec<Warning>,
    policies: Vec<PolicySource>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where the keys stand whose values the start of a server judges: [`Config::refuse`].
fn places(root: &Section<'_>) -> Vec<Place> {
    let tls = root.section("tls");
    let header = tls.section("proxy").section("header");
    let audit = root.section("log").section("audit_file");
    let probe = root.section("probe");
    let mut places = vec![root.place("address"), header.place("cert"), audit.place("path"), root.place("keys")];
    places.push(probe.place("address"));
    places.extend(["cert", "key", "password", "ca"].map(|key| tls.place(key)));
    let renew = tls.section("renew");
    places.extend(["ca", "key"].map(|key| renew.place(key)));
    places
}

fn empty(context: &Context<'_>) -> Error {
    let hint = "the file is empty: it needs at least 'admin', 'tls' and 'keystore'";
    Error::new(ErrorKind::Syntax, "EOF").at(context.place(1, "")).hint(hint)
}

/// UTF-8, or UTF-16 if a byte order mark says so: what editors on Windows write.
fn decode(bytes: &[u8]) -> Result<String, &'static str> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| "yaml: unexpected low surrogate area")
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "yaml: invalid leading UTF-8 octet"),
    }
}
