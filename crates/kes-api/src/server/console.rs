//! Log lines on their way out: bounded buffers, and one thread that writes them in batches.
//!
//! Whoever produces a line appends it to a buffer in memory and goes on; a full disk or a stalled pipe never stops a
//! request. A full buffer drops lines and counts them, or, for an audit file that must be complete, makes producers wait
//! ([`Lines::room`]). Lines are written at most 100 ms after they were made, and before [`Console`] is dropped.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

/// Longest time between a line and its write.
const FLUSH: Duration = Duration::from_millis(50);
/// Bytes a buffer holds before lines are dropped.
const CAPACITY: usize = 4 << 20;

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

/// The writer thread and its buffers.
#[derive(Debug)]
pub(super) struct Console {
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Starts the writer. Each element is a set of buffers that share one target; the set's buffers are returned in
    /// the same order.
    pub(super) fn start(targets: Vec<(Vec<Target>, usize)>) -> io::Result<(Self, Vec<Vec<Arc<Lines>>>)> {
        let wake = Arc::new(Wake::default());
        let outputs: Vec<Output> = targets
            .into_iter()
            .map(|(targets, buffers)| Output {
                targets,
                lines: (0..buffers).map(|_| Arc::new(Lines::new(Arc::clone(&wake)))).collect(),
            })
            .collect();
        let lines = outputs.iter().map(|output| output.lines.clone()).collect();
        let thread = std::thread::Builder::new().name("kes-log".to_owned()).stack_size(128 << 10).spawn({
            let wake = Arc::clone(&wake);
            move || write_loop(&wake, outputs)
        })?;
        Ok((Self { wake, thread: Some(thread) }, lines))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.wake.stop.store(true, Ordering::SeqCst);
        self.wake.notify();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing left to say.
            let _ = thread.join();
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

    /// Waits for a line, then a little longer so that lines come in batches. Returns whether to stop afterwards.
    fn wait(&self) -> bool {
        let mut guard = lock(&self.sleeping);
        while !self.dirty.load(Ordering::Acquire) && !self.stop.load(Ordering::SeqCst) {
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
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
        let mut buffer = lock(&self.buffer);
        if buffer.len() >= CAPACITY {
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

struct Output {
    targets: Vec<Target>,
    lines: Vec<Arc<Lines>>,
}

fn write_loop(wake: &Wake, mut outputs: Vec<Output>) {
    let mut batch = Vec::new();
    let mut unsynced = Duration::ZERO;
    loop {
        let stop = wake.wait();
        unsynced += FLUSH;
        let interval = stop || unsynced >= Duration::from_secs(1);
        if interval {
            unsynced = Duration::ZERO;
        }
        for output in &mut outputs {
            output.flush(&mut batch, interval);
        }
        if stop {
            return;
        }
    }
}

impl Output {
    fn flush(&mut self, batch: &mut Vec<u8>, interval: bool) {
        for lines in &self.lines {
            batch.clear();
            std::mem::swap(batch, &mut lock(&lines.buffer));
            if batch.is_empty() {
                continue;
            }
            lines.room.notify_waiters();
            for target in &mut self.targets {
                if target.write(batch, interval).is_err() {
                    // There is no better place to say so; the count is in the metrics.
                    let lost = batch.iter().filter(|byte| **byte == b'\n').count();
                    lines.dropped.fetch_add(lost as u64, Ordering::Relaxed);
                }
            }
            batch.shrink_to(64 << 10);
        }
    }
}

impl Target {
    fn write(&mut self, batch: &[u8], interval: bool) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().write_all(batch).and_then(|()| io::stdout().lock().flush()),
            Self::Stderr => io::stderr().lock().write_all(batch),
            Self::File { file, sync } => {
                file.write_all(batch)?;
                if *sync == Sync::Always || (*sync == Sync::Interval && interval) {
                    file.sync_data()?;
                }
                Ok(())
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
    }
}
