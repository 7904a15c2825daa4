//! Which events of the audit log are shown. The server sends all; the choice is made here.

use kes_client::wire::AuditEvent;

use super::follow::Which;
use crate::failure::{Failure, Outcome};
use crate::glob;

/// Everything that is asked for must hold.
#[derive(Debug, Default)]
pub(super) struct Filter {
    identity: Option<String>,
    path: Option<String>,
    status: Option<(u16, u16)>,
}

impl Filter {
    pub(super) fn new(which: Which, identity: Option<&str>, path: Option<&str>, status: Option<&str>) -> Outcome<Self> {
        let given = [("--identity", identity), ("--path", path), ("--status", status)];
        if let Some((flag, _)) = given.into_iter().find(|(_, value)| value.is_some() && which == Which::Error) {
            return Err(Failure::usage(format!("{flag} is for the audit log"), "kes log"));
        }
        let identity = identity.map(str::to_ascii_lowercase);
        Ok(Self { identity, path: path.map(str::to_owned), status: status.map(range).transpose()? })
    }

    pub(super) fn accepts(&self, event: &AuditEvent) -> bool {
        let path = &event.request.path;
        self.identity.as_ref().is_none_or(|start| event.request.identity.starts_with(start.as_str()))
            && self.path.as_ref().is_none_or(|pattern| {
                if glob::is_glob(pattern) { glob::matches(pattern, path) } else { path.starts_with(pattern.as_str()) }
            })
            && self.status.is_none_or(|(first, last)| (first..=last).contains(&event.response.code))
    }
}

/// `403`, or `4xx` for all that begin so.
fn range(text: &str) -> Outcome<(u16, u16)> {
    let lower = text.to_ascii_lowercase();
    let class =
        lower.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok()).filter(|class| (1..=5).contains(class));
    let code = lower.parse::<u16>().ok().filter(|code| (100..=599).contains(code));
    match (class, code) {
        (Some(class), _) => Ok((class * 100, class * 100 + 99)),
        (None, Some(code)) => Ok((code, code)),
        _ => {
            let text = format!("invalid argument \"{text}\" for \"--status\" flag: it must be like 403 or 4xx");
            Err(Failure::usage(text, "kes log"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    fn event(identity: &str, path: &str, code: u16) -> AuditEvent {
        serde_json::from_str(&format!(
            r#"{{"time":"2026-11-21T07:58:48Z","request":{{"path":"{path}","identity":"{identity}"}},"response":{{"code":{code},"time":1}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn everything_asked_for_must_hold() {
        let accepts = |identity, path, status| {
            let filter = Filter::new(Which::Audit, identity, path, status).unwrap();
            filter.accepts(&event("3ecfcdf3", "/v1/key/create/a", 403))
        };
        assert!(accepts(None, None, None));
        assert!(accepts(Some("3ECF"), Some("/v1/key/"), Some("4xx")));
        assert!(accepts(None, Some("/v1/key/*/a"), Some("403")));
        assert!(!accepts(Some("4"), None, None));
        assert!(!accepts(None, Some("/v1/policy"), None));
        assert!(!accepts(None, Some("*/b"), None));
        assert!(!accepts(None, None, Some("200")) && !accepts(None, None, Some("5XX")));
    }

    #[test]
    fn a_filter_that_cannot_be_meant_is_refused() {
        for status in ["", "xx", "6xx", "0", "600", "abc"] {
            assert_eq!(Filter::new(Which::Audit, None, None, Some(status)).unwrap_err().status, Status::Usage);
        }
        assert!(Filter::new(Which::Error, Some("a"), None, None).unwrap_err().text.starts_with("--identity is for"));
        assert!(Filter::new(Which::Error, None, None, None).is_ok());
    }
}
