//! A request as somebody would make it: which route answers it, and which path the policy is asked about.

use kes_policy::{ROUTES, Route, Standing, Tail};

use crate::failure::{Failure, Outcome};
use crate::nearest::nearest;

/// Methods that a word can be.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// A request for a route that there is.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Option<String>,
    /// The decoded path, with the slash that a list may be asked without.
    pub(super) path: String,
    pub(super) route: &'static Route,
}

/// Whether a word of the command line is a method, in either case.
pub(super) fn is_method(word: &str) -> bool {
    METHODS.iter().any(|method| method.eq_ignore_ascii_case(word))
}

/// Whether a word of the command line is the path of a request rather than that of a file.
pub(super) fn is_path(word: &str) -> bool {
    word.starts_with("https://")
        || word.starts_with("http://")
        || ROUTES.iter().any(|route| word.starts_with(route.path.trim_end_matches('/')))
        || word.to_ascii_lowercase().starts_with("/v1")
}

impl Request {
    /// Reads a request. What no server answers is an error: no policy is asked about it, so none can allow it.
    pub(super) fn parse(method: Option<&str>, target: &str) -> Outcome<Self> {
        let bare = without_host(target);
        let bare = bare.split(['?', '#']).next().unwrap_or_default();
        // An escaped slash separates no segments of a route, but it is a slash to the policy.
        let (routed, path) = (decode(bare, true)?, decode(bare, false)?);
        let (routed, path) = match ROUTES.iter().find(|route| is_list_without_slash(route, &routed)) {
            Some(route) => (route.path.to_owned(), route.path.to_owned()),
            None => (routed, path),
        };
        let route = Route::of(&routed).ok_or_else(|| no_such_api(&routed))?;
        let method = method.map(str::to_ascii_uppercase);
        if let Some(method) = method.as_deref().filter(|method| !methods(route).contains(method)) {
            let expected = methods(route).join(" or ");
            let text = format!("{} takes {expected}, not {method}: the server answers 405 to everybody", route.path);
            return Err(
                Failure::new(text).hint("policies look at the path only; leave the method out, or write another")
            );
        }
        Ok(Self { method, path, route })
    }

    /// Why the server refuses the request even if the policy lets it pass.
    pub(super) fn refusal(&self) -> Option<String> {
        let tail = self.path.get(self.route.path.len()..).unwrap_or_default();
        let what = match self.route.tail {
            Tail::Name if !is_name(tail) => "name",
            Tail::Listing if !is_name(tail.strip_suffix('*').unwrap_or(tail)) && !matches!(tail, "" | "*") => "pattern",
            _ => return None,
        };
        Some(format!("the server answers 400: {tail:?} is no valid {what}"))
    }
}

/// `PUT /v1/key/create/a`.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.method {
            Some(method) => write!(f, "{method} {}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// The methods that a route takes. Where PUT is declared POST is taken as well.
fn methods(route: &Route) -> &'static [&'static str] {
    let last = route.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match (last, route.standing) {
        ("decrypt", Standing::Legacy) | ("write" | "assign" | "create" | "seal", Standing::Gone) => &["POST"],
        ("delete" | "forget", _) => &["DELETE"],
        ("create" | "import" | "generate" | "encrypt" | "decrypt" | "hmac", _) => &["PUT", "POST"],
        _ => &["GET"],
    }
}

fn is_list_without_slash(route: &Route, path: &str) -> bool {
    route.tail == Tail::Listing && route.path.strip_suffix('/') == Some(path)
}

fn no_such_api(path: &str) -> Failure {
    let failure = Failure::new(format!("there is no such API: the server answers 404 to {path} for everybody"));
    let known = ROUTES.iter().filter(|route| route.standing != Standing::Gone);
    let meant = known.filter_map(|route| {
        let segments = route.path.trim_end_matches('/').matches('/').count();
        let start = path.match_indices('/').nth(segments).map_or(path.len(), |(at, _)| at);
        let own = route.path.trim_end_matches('/');
        let near = nearest(&path[..start], [own]).filter(|_| path[..start] != *own || start == path.len())?;
        let tail = if route.tail == Tail::Nothing { "" } else { &path[start..] };
        let slash = if tail.is_empty() && route.tail != Tail::Nothing { "/<name>" } else { "" };
        Some(format!("{near}{tail}{slash}"))
    });
    match meant.into_iter().next() {
        Some(meant) => failure.hint(format!("did you mean {meant}?")),
        None => failure.hint("`kes status --api` lists the routes of a server"),
    }
}

/// `https://host:port/path` as `/path`.
fn without_host(target: &str) -> &str {
    let Some((_, rest)) = target.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")) else {
        return target;
    };
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// Undoes `%41`; with `keep_slash` all but `%2F`.
fn decode(text: &str, keep_slash: bool) -> Outcome<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let Some(byte) = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return Err(Failure::new(format!("{text} is no path: after a % two hexadecimal digits must follow")));
        };
        match byte {
            b'/' if keep_slash => bytes.extend_from_slice(b"%2F"),
            byte => bytes.push(byte),
        }
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("{text} is no path: it is not UTF-8")))
}

/// The rule for names of keys, policies and identities.
fn is_name(text: &str) -> bool {
    text.parse::<kes_policy::PolicyName>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, target: &str) -> Result<String, String> {
        let method = Some(method).filter(|method| !method.is_empty());
        Request::parse(method, target)
            .map(|request| request.to_string())
            .map_err(|failure| format!("{} | {}", failure.text, failure.hint.unwrap_or_default()))
    }

    #[test]
    fn the_path_is_what_the_policy_is_asked_about() {
        for (target, path) in [
            ("/v1/status", "/v1/status"),
            ("/v1/status?x=/v1/y#z", "/v1/status"),
            ("https://kes:7373/v1/status?x", "/v1/status"),
            ("/v1/%73tatus", "/v1/status"),
            ("/v1/key/create/%61b", "/v1/key/create/ab"),
            ("/v1/key/create/a%2Fb", "/v1/key/create/a/b"),
            ("/v1/key/list", "/v1/key/list/"),
            ("/v1/key/list/", "/v1/key/list/"),
            ("/v1/key/bulk/decrypt/k", "/v1/key/bulk/decrypt/k"),
        ] {
            assert_eq!(parse("", target), Ok(path.to_owned()), "{target}");
        }
        assert!(parse("", "/v1/key/create/%zz").unwrap_err().contains("hexadecimal"));
        assert!(parse("", "/v1/key/create/%ff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn what_no_server_answers_is_an_error() {
        for (path, hint) in [
            ("/v1/keys/create/x", "did you mean /v1/key/create/x?"),
            ("/v1/key/craete/x", "did you mean /v1/key/create/x?"),
            ("/v1/key/create", "did you mean /v1/key/create/<name>?"),
            ("/v1/stauts", "did you mean /v1/status?"),
            ("/v1%2Fstatus", "`kes status --api` lists the routes of a server"),
            ("/foo", "`kes status --api` lists the routes of a server"),
        ] {
            let error = parse("", path).unwrap_err();
            assert!(error.starts_with("there is no such API") && error.ends_with(hint), "{error}");
        }
        assert!(parse("get", "/v1/key/create/x").unwrap_err().contains("takes PUT or POST, not GET"));
    }

    #[test]
    fn methods_are_those_of_the_route() {
        for (method, target) in [
            ("PUT", "/v1/key/create/x"),
            ("post", "/v1/key/create/x"),
            ("DELETE", "/v1/key/delete/x"),
            ("POST", "/v1/key/bulk/decrypt/x"),
            ("GET", "/v1/identity/self/describe"),
            ("GET", "/version"),
        ] {
            assert!(parse(method, target).is_ok(), "{method} {target}");
        }
        assert!(parse("PUT", "/v1/key/bulk/decrypt/x").is_err());
        assert!(parse("HEAD", "/v1/status").is_err());
    }

    #[test]
    fn a_name_that_no_key_has_is_told() {
        let refusal = |path| Request::parse(None, path).unwrap().refusal();
        assert_eq!(refusal("/v1/key/create/my-key"), None);
        assert_eq!(refusal("/v1/key/list/my*"), None);
        assert_eq!(refusal("/v1/key/create/a.b").unwrap(), "the server answers 400: \"a.b\" is no valid name");
        assert_eq!(refusal("/v1/key/list/a*b").unwrap(), "the server answers 400: \"a*b\" is no valid pattern");
    }
}
