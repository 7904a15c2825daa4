//! Many keys at once, told in order.
//!
//! Looks run ahead, some at a time, but a write starts only when every key before it has been looked at and found
//! good. So a run that stops at the first difference has written exactly the keys before it, however many it works on at
//! once, and the order of the report is that of the names.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kes_keystore::KeyName;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::copy::{Copier, Look};
use super::verdict::Record;

/// How often somebody who watches is shown what has been done.
const TICK: Duration = Duration::from_millis(200);

/// Told of every key in the order of the names, and now and then that time passes.
pub(super) trait Watcher {
    fn record(&mut self, record: &Record);
    fn tick(&mut self);
}

/// Why there is no further key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All keys had their turn.
    Complete,
    /// One was not good.
    Stopped,
    /// A store is not there.
    Outage,
    /// Somebody wanted it to end.
    Interrupted,
}

/// How a run goes.
pub(super) struct Run {
    pub(super) copier: Arc<Copier>,
    /// Keys that are looked at, and keys that are written, at once.
    pub(super) jobs: usize,
    /// Whether it goes on behind a key that is not good.
    pub(super) go_on: bool,
}

/// A key between its look and its place in the report.
enum Pending {
    Done(Record),
    Writing(JoinHandle<Record>),
}

struct State<'r> {
    run: &'r Run,
    names: std::vec::IntoIter<KeyName>,
    looks: VecDeque<JoinHandle<Look>>,
    pending: VecDeque<Pending>,
    writing: usize,
    end: End,
}

impl Run {
    /// Takes every name through look and write. When `interrupt` completes, no further write is started; those that are
    /// under way are finished and told.
    pub(super) async fn over(
        &self,
        names: Vec<KeyName>,
        interrupt: impl Future<Output = ()>,
        watcher: &mut impl Watcher,
    ) -> End {
        let names = names.into_iter();
        let (looks, pending) = (VecDeque::new(), VecDeque::new());
        let mut state = State { run: self, names, looks, pending, writing: 0, end: End::Complete };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tokio::pin!(interrupt);
        loop {
            state.look_ahead();
            if state.looks.is_empty() && state.pending.is_empty() {
                return state.end;
            }
            let room = state.writing < self.jobs;
            tokio::select! {
                biased;
                () = &mut interrupt, if state.end == End::Complete => state.stop(End::Interrupted),
                record = first_record(&mut state.pending) => state.told(&record, watcher),
                look = first_look(&mut state.looks), if room => state.looked(look),
                _ = tick.tick() => watcher.tick(),
            }
        }
    }
}

impl State<'_> {
    fn look_ahead(&mut self) {
        while self.end == End::Complete && self.looks.len() < self.run.jobs {
            let Some(name) = self.names.next() else { return };
            let copier = Arc::clone(&self.run.copier);
            self.looks.push_back(tokio::spawn(async move { copier.look(name).await }));
        }
    }

    fn looked(&mut self, look: Look) {
        self.looks.pop_front();
        match look {
            Look::Verdict(record) => {
                self.judge(&record);
                self.pending.push_back(Pending::Done(record));
            }
            Look::Write(write) => {
                let copier = Arc::clone(&self.run.copier);
                self.writing += 1;
                self.pending.push_back(Pending::Writing(tokio::spawn(async move { copier.write(write).await })));
            }
        }
    }

    fn told(&mut self, record: &Record, watcher: &mut impl Watcher) {
        if let Some(Pending::Writing(_)) = self.pending.pop_front() {
            self.writing -= 1;
            self.judge(record);
        }
        watcher.record(record);
    }

    fn judge(&mut self, record: &Record) {
        if record.outage {
            self.stop(End::Outage);
        } else if !record.verdict.is_good() && !self.run.go_on {
            self.stop(End::Stopped);
        }
    }

    /// The first reason to stop counts.
    fn stop(&mut self, end: End) {
        if self.end == End::Complete {
            self.end = end;
        }
        for look in self.looks.drain(..) {
            look.abort();
        }
    }
}

async fn first_record(pending: &mut VecDeque<Pending>) -> Record {
    match pending.front_mut() {
        Some(Pending::Done(record)) => record.clone(),
        Some(Pending::Writing(task)) => finished(task).await,
        None => self::pending().await,
    }
}

async fn first_look(looks: &mut VecDeque<JoinHandle<Look>>) -> Look {
    match looks.front_mut() {
        Some(task) => finished(task).await,
        None => pending().await,
    }
}

/// The result of a task that nobody has aborted: those that were are not waited for.
async fn finished<T>(task: &mut JoinHandle<T>) -> T {
    match task.await {
        Ok(result) => result,
        Err(stopped) => std::panic::resume_unwind(stopped.into_panic()),
    }
}
