//! Log lines on their way out: bounded buffers, and one thread for each log that writes them in batches.
//!
//! Whoever produces a line appends it to a buffer in memory and goes on; a full disk or a stalled pipe never stops a
//! request, nor the other log. A full buffer drops lines and counts them, or, for an audit file that must be complete,
//! makes producers wait ([`Lines::room`]). Lines are written at most 100 ms after they were made, and before
//! [`Console`] is dropped.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Longest time between a line and its write.
const FLUSH: Duration = Duration::from_millis(50);
/// Longest time between a write and the next [`Sync::Interval`].
const SYNC: Duration = Duration::from_secs(1);
/// Bytes a buffer holds before lines are dropped.
const CAPACITY: usize = 4 << 20;
/// Bytes beyond that for requests that had found room when they began.
const RESERVE: usize = 4 << 20;

/// Where a buffer's lines go.
#[derive(Debug)]
pub enum Target {
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// A file, opened for appending.
    File {
        /// The file.
        file: File,
        /// When it is synchronised.
        sync: Sync,
    },
}

/// When a log file is synchronised to its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// When the operating system likes.
    #[default]
    Off,
    /// At most once a second.
    Interval,
    /// After every batch, that is at most 100 ms after a line was made.
    Always,
}

/// A bounded buffer of lines.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Mutex<Vec<u8>>,
    dropped: AtomicU64,
    room: Notify,
    wake: Arc<Wake>,
}

#[derive(Debug, Default)]
struct Wake {
    dirty: AtomicBool,
    stop: AtomicBool,
    sleeping: Mutex<()>,
    changed: Condvar,
}

/// The writers of all logs.
#[derive(Debug)]
pub(super) struct Console(Vec<Writer>);

/// A thread and what wakes it.
#[derive(Debug)]
struct Writer {
    wake: Arc<Wake>,
    thread: JoinHandle<()>,
}

impl Console {
    /// Starts the writers. Each element is a set of buffers that share targets; the set's buffers are returned in the
    /// same order.
    pub(super) fn start(targets: Vec<(Vec<Target>, usize)>) -> io::Result<(Self, Vec<Vec<Arc<Lines>>>)> {
        let mut console = Self(Vec::new());
        let mut sets = Vec::new();
        for (targets, buffers) in targets {
            let wake = Arc::new(Wake::default());
            let lines: Vec<_> = (0..buffers).map(|_| Arc::new(Lines::new(Arc::clone(&wake)))).collect();
            let sinks = targets.into_iter().map(|target| Sink { target, torn: false }).collect();
            let output = Output { sinks, lines: lines.clone(), written: None };
            let thread = std::thread::Builder::new().name("kes-log".to_owned()).stack_size(128 << 10).spawn({
                let wake = Arc::clone(&wake);
                move || write_loop(&wake, output)
            })?;
            console.0.push(Writer { wake, thread });
            sets.push(lines);
        }
        Ok((console, sets))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        for writer in &self.0 {
            writer.wake.stop.store(true, Ordering::SeqCst);
            writer.wake.notify();
        }
        for writer in self.0.drain(..) {
            // A writer that panicked has nothing left to say.
            let _ = writer.thread.join();
        }
    }
}

impl Wake {
    fn notify(&self) {
        let _guard = lock(&self.sleeping);
        self.changed.notify_one();
    }

    /// Called by producers; only the first line after a quiet moment wakes the thread.
    fn touch(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.notify();
        }
    }

    /// Waits for a line, then a little longer so that lines come in batches; or until `due`. Returns whether to stop
    /// afterwards.
    fn wait(&self, due: Option<Instant>) -> bool {
        let mut guard = lock(&self.sleeping);
        while !self.dirty.load(Ordering::Acquire) && !self.stop.load(Ordering::SeqCst) {
            guard = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        if !self.stop.load(Ordering::SeqCst) {
            let stopped = |_: &mut ()| !self.stop.load(Ordering::SeqCst);
            drop(self.changed.wait_timeout_while(guard, FLUSH, stopped));
        }
        self.dirty.store(false, Ordering::Release);
        self.stop.load(Ordering::SeqCst)
    }
}

impl Lines {
    fn new(wake: Arc<Wake>) -> Self {
        Self { buffer: Mutex::default(), dropped: AtomicU64::new(0), room: Notify::new(), wake }
    }

    /// Lets `write` append one line, newline included; a full buffer drops it.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.append_below(CAPACITY, write);
    }

    /// As [`Self::append`], for who has waited for [`Self::room`]: others may have filled the buffer since.
    pub(super) fn append_after_room(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.append_below(CAPACITY + RESERVE, write);
    }

    fn append_below(&self, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = lock(&self.buffer);
        if buffer.len() >= capacity {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            write(&mut buffer);
        }
        drop(buffer);
        self.wake.touch();
    }

    /// Lines that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until the buffer takes lines again.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            if lock(&self.buffer).len() < CAPACITY {
                return;
            }
            notified.await;
        }
    }
}

/// One log.
struct Output {
    sinks: Vec<Sink>,
    lines: Vec<Arc<Lines>>,
    /// When the first line was written that is not synchronised.
    written: Option<Instant>,
}

struct Sink {
    target: Target,
    /// The last batch was cut somewhere.
    torn: bool,
}

fn write_loop(wake: &Wake, mut output: Output) {
    let mut batch = Vec::new();
    loop {
        // Lines that wait for their synchronisation do not wait for further lines.
        let stop = wake.wait(output.sync_due());
        output.flush(&mut batch);
        if stop || output.sync_due().is_some_and(|due| due <= Instant::now()) {
            output.sync();
        }
        if stop {
            return;
        }
    }
}

impl Output {
    fn flush(&mut self, batch: &mut Vec<u8>) {
        for lines in &self.lines {
            std::mem::swap(batch, &mut lock(&lines.buffer));
            if batch.is_empty() {
                continue;
            }
            lines.room.notify_waiters();
            for sink in &mut self.sinks {
                if sink.write(batch).is_err() {
                    // There is no better place to say so; the count is in the metrics.
                    let lost = batch.iter().filter(|byte| **byte == b'\n').count();
                    lines.dropped.fetch_add(lost as u64, Ordering::Relaxed);
                } else if matches!(sink.target, Target::File { sync: Sync::Interval, .. }) {
                    self.written.get_or_insert_with(Instant::now);
                }
            }
            batch.clear();
            batch.shrink_to(64 << 10);
        }
    }

    fn sync_due(&self) -> Option<Instant> {
        self.written.map(|written| written + SYNC)
    }

    fn sync(&mut self) {
        if self.written.take().is_none() {
            return;
        }
        for sink in &self.sinks {
            if let Target::File { file, sync: Sync::Interval } = &sink.target
                && file.sync_data().is_err()
            {
                // How many lines are lost nobody can tell.
                self.lines[0].dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Sink {
    /// Writes a batch. After one that was cut, as on a full disk, lines begin on a line of their own.
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        let torn = std::mem::replace(&mut self.torn, true);
        if torn {
            self.target.write(b"\n")?;
        }
        self.target.write(batch)?;
        self.torn = false;
        Ok(())
    }
}

impl Target {
    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(batch).and_then(|()| io::stdout().lock().flush()),
            Self::Stderr => io::stderr().lock().write_all(batch),
            Self::File { file, sync } => {
                file.write_all(batch)?;
                if *sync == Sync::Always { file.sync_data() } else { Ok(()) }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_reach_the_file_before_the_end_and_overflow_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let file = File::create(&path).unwrap();
        let (console, lines) = Console::start(vec![(vec![Target::File { file, sync: Sync::Always }], 2)]).unwrap();
        lines[0][0].append(|out| out.extend_from_slice(b"one\n"));
        lines[0][1].append(|out| out.extend_from_slice(b"two\n"));
        drop(console);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        // Nobody writes any more: the buffer fills up, then drops.
        lines[0][0].append(|out| out.resize(CAPACITY, b'x'));
        lines[0][0].append(|out| out.extend_from_slice(b"lost\n"));
        assert_eq!(lines[0][0].dropped(), 1);
        // Who has waited for room is not turned away because others were quicker.
        lines[0][0].append_after_room(|out| out.extend_from_slice(b"kept\n"));
        assert_eq!(lines[0][0].dropped(), 1);
    }

    #[test]
    fn what_is_written_is_soon_synchronised_without_further_lines() {
        let file = tempfile::tempfile().unwrap();
        let wake = Arc::new(Wake::default());
        let lines = vec![Arc::new(Lines::new(Arc::clone(&wake)))];
        let sinks = vec![Sink { target: Target::File { file, sync: Sync::Interval }, torn: false }];
        let mut output = Output { sinks, lines, written: None };
        assert_eq!(output.sync_due(), None, "nothing to synchronise, nothing to wait for");
        output.lines[0].append(|out| out.extend_from_slice(b"one\n"));
        output.flush(&mut Vec::new());
        let due = output.sync_due().unwrap();
        assert!(due <= Instant::now() + SYNC);
        output.lines[0].append(|out| out.extend_from_slice(b"two\n"));
        output.flush(&mut Vec::new());
        assert_eq!(output.sync_due(), Some(due), "later lines do not put it off");
        wake.dirty.store(false, Ordering::SeqCst);
        assert!(!wake.wait(Some(Instant::now())), "the writer does not wait for a line");
        output.sync();
        assert_eq!(output.sync_due(), None);
    }

    #[test]
    fn a_line_that_was_cut_does_not_spoil_the_next_one() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(log.path()).unwrap();
        let mut sink = Sink { target: Target::File { file, sync: Sync::Off }, torn: false };
        assert!(sink.write(b"one\n").is_err(), "it is open for reading only");
        let file = File::options().append(true).open(log.path()).unwrap();
        sink.target = Target::File { file, sync: Sync::Off };
        sink.write(b"two\n").unwrap();
        sink.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "\ntwo\nthree\n");
    }
}
