//! `kes status --probe`: for containers without a shell.

use kes_server::ProbeError;
use serde_json::json;

use super::ready;
use crate::args::Global;
use crate::failure::{Failure, Outcome, Status};
use crate::output::Output;

/// Asks the API with the caller's credentials, or the listener of probes at `url`. Success says nothing.
pub(crate) fn run(global: &Global, output: &Output, url: &str) -> Outcome {
    if url.is_empty() {
        return ready::run(global, output);
    }
    kes_server::probe(url).map_err(|error| {
        let status = match error {
            ProbeError::Unreachable(_) => Status::Connection,
            ProbeError::NotReady(_) => Status::StoreUnavailable,
            _ => Status::Usage,
        };
        let text = error.to_string();
        let (text, hint) = text.split_once("\nhint: ").map_or((&*text, None), |(text, hint)| (text, Some(hint)));
        Failure { status, text: text.to_owned(), hint: hint.map(str::to_owned) }
    })?;
    output.done(&json!({ "ready": true }))
}
