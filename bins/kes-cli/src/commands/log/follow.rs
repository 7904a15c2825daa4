//! Following one or several servers, and coming back to those that went away.

use std::time::Duration;

use kes_client::wire::{AuditEvent, ErrorEvent};
use kes_client::{Client, Error, LogStream};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep};

use super::filter::Filter;
use super::rows::{self, Event};
use crate::args::When;
use crate::commands::metric::back_off::BackOff;
use crate::failure::{Failure, Outcome, chain};
use crate::output::{self, Output};

/// Servers that send no header before the first event must not hide the header of the table.
const HEADER: Duration = Duration::from_millis(500);

/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// One of the two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Audit,
    Error,
}

/// An event that a server can be asked for.
trait Followed: Event + DeserializeOwned + Send + 'static {
    fn open(client: &Client) -> impl Future<Output = Result<LogStream<Self>, Error>> + Send;
}

impl Followed for AuditEvent {
    async fn open(client: &Client) -> Result<LogStream<Self>, Error> {
        client.audit_log().await
    }
}

impl Followed for ErrorEvent {
    async fn open(client: &Client) -> Result<LogStream<Self>, Error> {
        client.error_log().await
    }
}

/// What a follower of one server tells.
enum News<T> {
    Connected {
        again: bool,
        endpoint: String,
    },
    Event(T),
    /// One of several was not there from the beginning. It will try again.
    Absent(Error),
    /// It will try again.
    Lost {
        endpoint: String,
        why: String,
    },
    /// It has given up; `first` if it never was connected.
    Refused {
        first: bool,
        error: Error,
    },
}

/// Prints events until somebody stops it, nobody reads any more, or no server is left.
pub(super) async fn run(
    client: Client,
    which: Which,
    filter: &Filter,
    json: bool,
    output: &Output,
    color: When,
) -> Outcome {
    let screen = Screen { which, json, output, color };
    match which {
        Which::Audit => screen.show(&client, |event: &AuditEvent| filter.accepts(event)).await,
        Which::Error => screen.show(&client, |_: &ErrorEvent| true).await,
    }
}

struct Screen<'o> {
    which: Which,
    json: bool,
    output: &'o Output,
    color: When,
}

impl Screen<'_> {
    async fn show<T: Followed>(&self, client: &Client, wanted: impl Fn(&T) -> bool) -> Outcome {
        let mut news = followers(client);
        // Servers of which nothing has been heard yet.
        let mut silent = client.endpoints().count();
        let alone = silent == 1;
        let mut header = (!self.json && !T::header().is_empty()).then(T::header);
        let mut last = None;
        // In a pipe nobody waits for it, and a failure prints nothing.
        let is_watched = self.output.is_terminal();
        let patience = sleep(HEADER);
        tokio::pin!(patience);
        loop {
            let item = tokio::select! {
                biased;
                item = news.recv() => item,
                () = &mut patience, if is_watched && header.is_some() => {
                    if !self.heading(&mut header)? {
                        return Ok(());
                    }
                    continue;
                }
            };
            match item {
                Some(News::Connected { again, endpoint }) => {
                    silent = usize::MAX;
                    if !self.heading(&mut header)? {
                        return Ok(());
                    }
                    if again {
                        output::note(&format!("Connected again to {endpoint}"));
                    }
                }
                Some(News::Event(event)) if wanted(&event) => {
                    if !self.heading(&mut header)? || !self.event(&event)? {
                        return Ok(());
                    }
                }
                Some(News::Event(_)) => {}
                Some(News::Lost { endpoint, why }) => {
                    let text = format!("lost {endpoint} ({why}): trying again, events in between are not shown");
                    output::warn(self.color, &text);
                }
                Some(News::Absent(error)) => {
                    silent -= 1;
                    let failure = self.refused(true, error);
                    if silent == 0 {
                        return Err(failure);
                    }
                    output::warn(self.color, &format!("{}: trying again", failure.text));
                }
                Some(News::Refused { first, error }) => {
                    silent -= 1;
                    let failure = self.refused(first, error);
                    if silent == 0 {
                        return Err(failure);
                    }
                    if !alone {
                        output::warn(self.color, &failure.text);
                    }
                    last = Some(failure);
                }
                None => return last.map_or(Ok(()), Err),
            }
        }
    }

    /// Prints the header, once.
    fn heading(&self, header: &mut Option<&'static str>) -> Outcome<bool> {
        match header.take() {
            Some(header) => output::stream(format!("{header}\n")),
            None => Ok(true),
        }
    }

    fn event(&self, event: &impl Event) -> Outcome<bool> {
        output::stream(if self.json { rows::json(event) } else { event.row(self.output) + "\n" })
    }

    /// Departs from upstream: there the error log was named even when the audit log was asked for.
    fn refused(&self, first: bool, error: Error) -> Failure {
        let failure = Failure::from(error);
        match (first, self.which) {
            (true, Which::Audit) => failure.while_doing("failed to connect to audit log"),
            (true, Which::Error) => failure.while_doing("failed to connect to error log"),
            (false, _) => failure.while_doing("the log ended"),
        }
    }
}

/// One follower for each server. They end when nobody listens.
fn followers<T: Followed>(client: &Client) -> Receiver<News<T>> {
    let (sender, news) = channel(256);
    let servers: Vec<Client> = (0..).map_while(|index| client.only(index)).collect();
    let alone = servers.len() == 1;
    for client in servers {
        tokio::spawn(follow(client, alone, sender.clone()));
    }
    news
}

async fn follow<T: Followed>(client: Client, alone: bool, sender: Sender<News<T>>) {
    let endpoint = client.endpoints().next().unwrap_or_default().to_owned();
    let mut back_off = BackOff::default();
    let (mut connected, mut told) = (false, false);
    loop {
        let start = Instant::now();
        let lost = |why| News::Lost { endpoint: endpoint.clone(), why };
        let news = match T::open(&client).await {
            Ok(mut stream) => {
                let news = News::Connected { again: connected || told, endpoint: endpoint.clone() };
                if sender.send(news).await.is_err() {
                    return;
                }
                (connected, told) = (true, false);
                match pass_on(&mut stream, &sender).await {
                    Some(why) => lost(why),
                    None => return,
                }
            }
            Err(error) if connected && may_pass(&error) => lost(chain(&error)),
            Err(error) if !alone && may_pass(&error) => News::Absent(error),
            Err(error) => {
                let _ = sender.send(News::Refused { first: !connected, error }).await;
                return;
            }
        };
        if start.elapsed() >= GOOD {
            back_off = BackOff::default();
        }
        if !std::mem::replace(&mut told, true) && sender.send(news).await.is_err() {
            return;
        }
        sleep(back_off.next()).await;
    }
}

/// Hands over events until the stream ends, and says why it did; `None` if nobody listens.
async fn pass_on<T: Followed>(stream: &mut LogStream<T>, sender: &Sender<News<T>>) -> Option<String> {
    loop {
        match stream.next().await {
            Some(Ok(event)) => sender.send(News::Event(event)).await.ok()?,
            Some(Err(error)) => return Some(chain(&error)),
            None => return Some("the server has ended the stream".to_owned()),
        }
    }
}

/// Whether the same request may be answered later: it is not if we are not allowed, or not trusted.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Connection { .. } | Error::Timeout { .. } => true,
        Error::Server(refusal) => refusal.status() >= 500 || refusal.status() == 429,
        _ => false,
    }
}
