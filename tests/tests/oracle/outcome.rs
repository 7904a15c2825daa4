//! What an answer says, in one comparable line: status, the headers that mean something, and the body with what must differ from
//! server to server (random bytes, the present time, version texts) replaced by its shape.

use crate::corpus::{Entry, Wire};
use kes_tests::{Fault, Response};
use serde_json::{Value, json};
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// One comparable line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome(String);

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Outcome {
    /// The outcome of a request.
    pub(crate) fn of(entry: &Entry, answer: Result<Response, Fault>) -> Self {
        let (Wire::Http1(request, _) | Wire::Http2(request) | Wire::Stream(request)) = &entry.wire else {
            unreachable!("raw requests have outcomes of their own")
        };
        Self(answer.map_or_else(|fault| describe(&fault), |response| line(&request.target, &response)))
    }

    /// The outcome of bytes that may be no HTTP: a status and whether the connection was closed.
    pub(crate) fn of_raw(answer: Result<(u16, bool), Fault>) -> Self {
        Self(match answer {
            Ok((status, closed)) => format!("{status} {}", if closed { "closed" } else { "open" }),
            Err(fault) => describe(&fault),
        })
    }
}

fn describe(fault: &Fault) -> String {
    match fault {
        Fault::Alert(alert) => format!("alert {alert}"),
        Fault::Closed => "closed".into(),
        Fault::Timeout => "nothing".into(),
        Fault::Protocol(_) => "reset".into(),
    }
}

fn line(target: &str, response: &Response) -> String {
    let mut line = response.status.to_string();
    for name in ["content-type", "accept", "x-content-type-options", "location"] {
        if let Some(value) = response.header(name) {
            line += &format!(" {name}={value}");
        }
    }
    let text = response.text();
    let is = |wanted: &str| response.header("content-type").is_some_and(|found| found.starts_with(wanted));
    let body = if response.status == 200 && is("application/json") {
        match serde_json::from_slice(&response.body) {
            Ok(value) => format!("{}{}", shape(target, "", value), if text.ends_with('\n') { "⏎" } else { "" }),
            Err(error) => format!("no JSON: {error}"),
        }
    } else if target.starts_with("/v1/metrics") && response.status == 200 {
        families(&text)
    } else {
        text.replace('\n', "⏎")
    };
    format!("{line} {body}").trim_end().to_owned()
}

/// The value with its volatile parts replaced.
fn shape(target: &str, member: &str, value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let value = shape(target, &name, value);
                (name, value)
            })
            .collect(),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(|item| shape(target, member, item)).collect();
            if target.starts_with("/v1/api") {
                items.sort_by_key(ToString::to_string); // the old server's order is random
            }
            Value::Array(items)
        }
        Value::Number(_) if !target.starts_with("/v1/api") => json!("<number>"),
        Value::String(text) => match member {
            "version" | "commit" => json!("<text>"),
            "ciphertext" => json!(format!("<{} characters>", text.len())),
            "plaintext" if target.starts_with("/v1/key/generate/") => json!(format!("<{} characters>", text.len())),
            "created_at" => instant(&text),
            _ => Value::String(text),
        },
        other => other,
    }
}

/// A time as an instant, or that it is the present.
fn instant(text: &str) -> Value {
    let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else { return json!(format!("no time: {text}")) };
    if (OffsetDateTime::now_utc() - time).abs() < time::Duration::hours(1) {
        return json!("<now>");
    }
    json!(time.unix_timestamp_nanos().to_string())
}

/// The families of a metrics text with their types.
fn families(text: &str) -> String {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect::<Vec<_>>().join(", ")
}
