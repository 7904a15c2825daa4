//! `kes ready`: whether the server can serve, as an exit status for probes and scripts.

use crate::args::Global;
use crate::failure::Outcome;
use crate::online;

pub(crate) fn run(global: &Global) -> Outcome {
    online(global, async |client| Ok(client.ready().await?))
}
