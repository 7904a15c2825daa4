//! `kes ready`: whether the server can serve, as an exit status for probes and scripts.

use serde_json::json;

use crate::args::Global;
use crate::failure::Outcome;
use crate::online;
use crate::output::Output;

pub(crate) fn run(global: &Global, output: &Output) -> Outcome {
    online(global, async |client| Ok(client.ready().await?))?;
    output.done(&json!({ "ready": true }))
}
