//! `kes metric`: the server at work, as a live view on a terminal and as JSON in a pipe.

pub(crate) mod back_off;
mod exposition;
mod histogram;
mod live;
mod screen;
mod snapshot;
mod spark;
mod view;

use std::time::Duration;

use clap::Args;
use kes_client::{Client, Error};
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Format, Global};
use crate::environment;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};
use crate::{duration, online, terminal};
use snapshot::{Document, Snapshot};
use view::View;

/// The arguments of `kes metric`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Metric {
    /// How often to look, such as 1s or 500ms
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_positive, default_value = "5s")]
    rate: Duration,
    /// Look once, and end
    #[arg(long)]
    once: bool,
}

const EXAMPLES: &str =
    "On a terminal q quits. In a pipe there is one JSON object for each look, with the names and units
of the old command: durations in nanoseconds. With `-o prometheus` the server's own text is printed, once.
Of several servers the first is watched.

Examples:
  kes metric
  kes metric --rate 1s
  kes metric --once | jq .kes_http_request_success
  kes metric -o prometheus > /var/lib/node_exporter/kes.prom";

pub(crate) fn run(global: &Global, output: &Output, metric: &Metric) -> Outcome {
    if output.format() == Format::Prometheus {
        return online(global, async |client| {
            let client = first(&client);
            output::print(client.metrics_full_text().await.map_err(failed)?)
        });
    }
    let unicode = terminal::is_unicode(&environment::process);
    let is_text = output.format() == Format::Text && !output.is_pipe_form();
    let can_redraw = output.is_terminal() && terminal::can_redraw(&environment::process);
    match (is_text, metric.once || !can_redraw) {
        (true, false) => online(global, async |client| live::run(first(&client), metric.rate, unicode, output).await),
        (true, true) => online(global, async |client| texts(first(&client), metric, unicode, output).await),
        (false, _) => online(global, async |client| documents(first(&client), metric.rate, metric.once, output).await),
    }
}

/// JSON until somebody stops it: `kes log trace --type metric` of v0.17.
pub(crate) fn stream(global: &Global, output: &Output, rate: Duration) -> Outcome {
    online(global, async |client| documents(first(&client), rate, false, output).await)
}

/// Counters of several servers are no series.
fn first(client: &Client) -> Client {
    client.only(0).expect("a client has an endpoint")
}

fn failed(error: Error) -> Failure {
    Failure::from(error).while_doing("failed to fetch metrics")
}

/// One document for each look. A look that fails ends it: the old command's behaviour, and what a script can see.
async fn documents(client: Client, rate: Duration, once: bool, output: &Output) -> Outcome {
    let mut ticks = interval(rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let metrics = client.metrics().await.map_err(failed)?;
        let document = Document::from(&metrics);
        let text = match output.format() {
            Format::Yaml => {
                let yaml = serde_yaml::to_string(&document).map_err(|error| Failure::of(&error))?;
                format!("---\n{yaml}")
            }
            _ => output::json(&document) + "\n",
        };
        if !output::stream(text)? || once {
            return Ok(());
        }
    }
}

/// The view as plain text, one below the other.
async fn texts(client: Client, metric: &Metric, unicode: bool, output: &Output) -> Outcome {
    let columns = if output.is_terminal() { terminal::size().0 } else { 80 };
    let endpoint = client.endpoints().next().unwrap_or_default().to_owned();
    let mut view = View::new(&endpoint, metric.rate, unicode);
    let mut ticks = interval(metric.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        let text = client.metrics_full_text().await.map_err(failed)?;
        let now = tokio::time::Instant::now();
        let after = last.replace(now).map(|last| now - last).unwrap_or_default();
        view.scraped(Snapshot::read(&text), after, OffsetDateTime::now_utc());
        let lines = view.lines(columns);
        let lines = lines.iter().map(|line| screen::styled(line, columns, output).trim_end().to_owned() + "\n");
        let text: String = lines.collect();
        if !output::stream(if metric.once { text } else { text + "\n" })? || metric.once {
            return Ok(());
        }
    }
}
