//! From a file to a [`Config`].

use crate::address::Address;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Place, Warning, io_words};
use crate::section::{Context, Section, TOML};
use crate::{api, compat, keystore, known, legacy, limits, log, policy, tls, yaml};
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
        let Some(mut tree) = self.tree(&context)? else { return Err(empty(&context)) };
        legacy::translate(&mut tree, &context)?;
        let root = context.root(&tree);
        tls::check_version(&root)?;
        let (config, notes) = self.judge(&root, &context)?;
        known::survey(&tree, &context);
        Ok(Loaded { config, warnings: context.take_warnings(), notes })
    }

    fn tree(&self, context: &Context<'_>) -> Result<Option<yaml::Node>, Error> {
        if self.text.len() > MAX_LEN {
            let text = format!("yaml: the file is longer than {MAX_LEN} bytes");
            return Err(Error::new(ErrorKind::Syntax, text).at(context.place(1, "")));
        }
        yaml::parse(&self.text).map_err(|fault| {
            let error = Error::new(ErrorKind::Syntax, fault.text).at(context.place(fault.line, ""));
            match self.name.ends_with(".toml") {
                true => error.hint(TOML),
                false => error.hint("check the indentation, and quote values with any of : # { [ & * ! | > ' \" % @ `"),
            }
        })
    }

    /// Reads everything, then refuses the first thing that is wrong in the order of the old server.
    fn judge(&self, root: &Section<'_>, context: &Context<'_>) -> Result<(Config, Vec<Warning>), Error> {
        let address = root.filled("address");
        let admin = tls::read_admin(root, self.root.as_deref());
        let tls = tls::read(root);
        let policies = policy::read(root);
        let cache = limits::read_cache(root);
        let log = log::read(root);
        let api = api::read(root);
        let keys = limits::read_keys(root);
        let store = keystore::read(root);
        let compat = compat::read(root);
        let limits = limits::read_limits(root);
        let probe = limits::read_probe(root);
        context.first_mistake()?;

        let admin = admin?;
        let tls = tls?;
        tls::check_proxies(&tls.proxies, &admin)?;
        policy::check(&policies, &admin, &tls.proxies)?;
        let cache = cache?;
        let log = log?;
        let compat = compat?;
        let api = api::build(&api, &compat)?;
        limits::check_keys(&keys)?;
        let store = keystore::choose(store)?;
        let (limits, probe) = (limits?, probe?);
        let address = match (&self.address, &address) {
            (Some(flag), _) => Address::parse(flag, None)?,
            (None, Some(text)) => Address::parse(text.as_str(), Some(text.place.clone()))?,
            (None, None) => Address::parse(Address::DEFAULT, None)?,
        };
        let mut places = places(root);
        if self.address.is_some() {
            places.retain(|place| place.key != "address");
        }
        let policies = policy::build(&policies, &compat)?;
        let keys = limits::name_keys(&keys)?;
        for Warning { message, place, hint } in policies.warnings {
            context.warn(place, message, hint);
        }
        let (tls, policies, notes) = (tls.tls, policies.set, policies.notes);
        let config =
            Config { address, admin, tls, api, policies, cache, log, keys, limits, compat, probe, store, places };
        Ok((config, notes))
    }
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
    let mut places = vec![root.place("address"), header.place("cert"), audit.place("path"), root.place("keys")];
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
