//! `kes api`: any request, for what has no command.

use crate::args::{Api, Global};
use crate::failure::Outcome;
use crate::output;
use crate::{input, online};

pub(crate) fn run(global: &Global, api: &Api) -> Outcome {
    let body = api.body.as_deref().map(input::value).transpose()?;
    let method = match &api.method {
        Some(method) => method.to_ascii_uppercase(),
        None => if body.is_some() { "PUT" } else { "GET" }.to_owned(),
    };
    let answer = online(global, async |client| {
        let body = body.map(|body| body.to_vec());
        Ok(client.send(&method, &api.path, body).await?)
    })?;
    output::print(answer.as_slice())
}
