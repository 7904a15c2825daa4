//! The loop behind the live view: look, draw, wait for time, keys and signals.

use std::time::Duration;

use kes_client::{Client, Error};
use time::OffsetDateTime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::back_off::BackOff;
use super::screen::{Keys, Screen};
use super::snapshot::Snapshot;
use super::view::View;
use crate::failure::{Failure, Outcome, chain};
use crate::output::Output;

/// A server that does not answer within this is shown as unreachable.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches until somebody presses `q`.
///
/// # Errors
/// If the first look fails: a wrong address or a missing right is told at once. Later failures are shown.
pub(super) async fn run(client: Client, rate: Duration, unicode: bool, output: &Output) -> Outcome {
    let endpoint = client.endpoints().next().unwrap_or_default().to_owned();
    let mut view = View::new(&endpoint, rate, unicode);
    let text = client.metrics_full_text().await.map_err(super::failed)?;
    // When we last asked, and when there last was an answer.
    let mut looked = Instant::now();
    let mut seen = looked;
    view.scraped(Snapshot::read(&text), Duration::ZERO, OffsetDateTime::now_utc());

    let mut events = Events::new()?;
    let screen = Screen::take().map_err(|error| Failure::new(format!("preparing the terminal: {error}")))?;
    let mut back_off = BackOff::default();
    let mut pause = rate;
    loop {
        if !screen.draw(&view.lines(crate::terminal::size().0), &view.footer(), output) {
            return Ok(());
        }
        match events.wait(pause.saturating_sub(looked.elapsed())).await {
            Event::Quit => return Ok(()),
            Event::End => return Err(Failure::interrupted()),
            // Sizes change many times a second while a window is drawn larger; drawing is cheap, looking is not.
            Event::Redraw => continue,
            Event::Time => {}
        }
        let result = tokio::select! {
            result = look(&client) => result,
            event = events.leave() => match event {
                Event::Quit => return Ok(()),
                _ => return Err(Failure::interrupted()),
            },
        };
        looked = Instant::now();
        match result {
            Ok(text) => {
                let after = looked - std::mem::replace(&mut seen, looked);
                view.scraped(Snapshot::read(&text), after, OffsetDateTime::now_utc());
                (back_off, pause) = (BackOff::default(), rate);
            }
            Err(why) => {
                pause = back_off.next().max(rate.min(Duration::from_secs(1)));
                view.failed(&why, pause, OffsetDateTime::now_utc());
            }
        }
    }
}

async fn look(client: &Client) -> Result<String, String> {
    match timeout(PATIENCE, client.metrics_full_text()).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// The cause alone: what was asked, and of whom, stands above.
fn why(error: &Error) -> String {
    match error {
        Error::Connection { source, .. } => chain(source),
        error => chain(error),
    }
}

enum Event {
    Time,
    Redraw,
    Quit,
    End,
}

/// Keys and signals.
struct Events {
    keys: Keys,
    resized: Signal,
    ended: [Signal; 2],
}

impl Events {
    fn new() -> Outcome<Self> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("listening for signals: {error}")));
        Ok(Self {
            keys: Keys::listen(),
            resized: listen(SignalKind::window_change())?,
            ended: [listen(SignalKind::terminate())?, listen(SignalKind::hangup())?],
        })
    }

    /// What comes first within this time. Keys without a meaning are nothing.
    async fn wait(&mut self, pause: Duration) -> Event {
        let time = sleep(pause);
        tokio::pin!(time);
        loop {
            let [terminate, hangup] = &mut self.ended;
            tokio::select! {
                biased;
                _ = terminate.recv() => return Event::End,
                _ = hangup.recv() => return Event::End,
                key = self.keys.next() => if let Some(event) = meaning(key) { return event },
                () = &mut time => return Event::Time,
                _ = self.resized.recv() => return Event::Redraw,
            }
        }
    }

    /// Waits for the wish to leave alone.
    async fn leave(&mut self) -> Event {
        loop {
            if let event @ (Event::Quit | Event::End) = self.wait(Duration::MAX).await {
                return event;
            }
        }
    }
}

fn meaning(key: Option<u8>) -> Option<Event> {
    match key {
        Some(b'q' | b'Q' | 0x04) => Some(Event::Quit),
        Some(b' ' | b'r' | 0x0c) => Some(Event::Redraw),
        Some(_) => None,
        // The terminal is gone.
        None => Some(Event::End),
    }
}
