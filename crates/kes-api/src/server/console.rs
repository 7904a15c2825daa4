//! Log lines on their way out: bounded buffers, and one thread for each target that writes them in batches.
//!
//! Whoever produces a line appends it to a buffer in memory and goes on; a full disk, a closed or a stalled pipe never
//! stops a request, nor another target. A full buffer drops lines and counts them, or, for an audit file that must be
//! complete, makes producers wait ([`Lines::room`]). Lines are written at most 100 ms after they were made, and before
//! [`Console`] is dropped. What cannot be written is counted as dropped, and said in the error log.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::log::{Level, Log};

/// Longest time between a line and its write.
const FLUSH: Duration = Duration::from_millis(50);
/// Longest time between a write and the next [`Sync::Interval`].
const SYNC: Duration = Duration::from_secs(1);
/// Bytes a buffer holds before lines are dropped.
const CAPACITY: usize = 4 << 20;
/// Bytes beyond that for requests that had found room when they began.
const RESERVE: usize = 4 << 20;
/// Shortest time between two reports that a target fails.
const QUIET: Duration = Duration::from_secs(60);

/// Where lines go.
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

/// The way from a set of buffers to their target, which can be exchanged.
#[derive(Debug)]
pub(super) struct Outlet {
    wake: Arc<Wake>,
    lines: Vec<Arc<Lines>>,
    handovers: Mutex<Vec<Handover>>,
}

/// What still belongs to the target so far, and the one that the writer then turns to, if any.
#[derive(Debug)]
struct Handover {
    rest: Vec<u8>,
    next: Option<Target>,
}

#[derive(Debug, Default)]
struct Wake {
    dirty: AtomicBool,
    stop: AtomicBool,
    sleeping: Mutex<()>,
    changed: Condvar,
}

/// The writers of all logs.
#[derive(Debug, Default)]
pub(super) struct Console(Vec<Writer>);

/// A thread and what wakes it.
#[derive(Debug)]
struct Writer {
    wake: Arc<Wake>,
    thread: JoinHandle<()>,
}

/// Who is told that a target fails, and what it is called there.
pub(super) struct Reporter {
    pub(super) log: Arc<Log>,
    pub(super) name: &'static str,
}

impl Console {
    /// Starts the writer of one target, or of one that is still to come, with so many buffers.
    pub(super) fn open(
        &mut self,
        target: Option<Target>,
        buffers: usize,
        reporter: Option<Reporter>,
    ) -> io::Result<(Arc<Outlet>, Vec<Arc<Lines>>)> {
        let wake = Arc::new(Wake::default());
        let lines: Vec<_> = (0..buffers).map(|_| Arc::new(Lines::new(Arc::clone(&wake)))).collect();
        let outlet = Arc::new(Outlet { wake: Arc::clone(&wake), lines: lines.clone(), handovers: Mutex::default() });
        let output = Output::new(target, lines.clone(), reporter);
        let thread = std::thread::Builder::new().name("kes-log".to_owned()).stack_size(128 << 10).spawn({
            let outlet = Arc::clone(&outlet);
            move || write_loop(&outlet, output)
        })?;
        self.0.push(Writer { wake, thread });
        Ok((outlet, lines))
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

impl Outlet {
    /// Exchanges the target. Lines made before go to the old one, which is then synchronised and closed.
    pub(super) fn redirect(&self, target: Option<Target>) {
        let mut handovers = lock(&self.handovers);
        let rest = self.lines.iter().flat_map(|lines| lines.take()).collect();
        handovers.push(Handover { rest, next: target });
        drop(handovers);
        self.wake.touch();
    }

    /// Takes all lines that belong to the present target, after handovers that come first.
    fn collect(&self, batches: &mut [Vec<u8>]) -> Vec<Handover> {
        // Held, so that no line made after a handover is taken for one made before.
        let mut handovers = lock(&self.handovers);
        for (lines, batch) in self.lines.iter().zip(batches) {
            std::mem::swap(batch, &mut *lock(&lines.buffer));
            lines.room.notify_waiters();
        }
        std::mem::take(&mut *handovers)
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

    /// Lets `write` append one line, newline included; a full buffer drops it. Returns whether it was appended.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.append_below(CAPACITY, write)
    }

    /// As [`Self::append`], for who has waited for [`Self::room`]: others may have filled the buffer since.
    pub(super) fn append_after_room(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.append_below(CAPACITY + RESERVE, write)
    }

    fn append_below(&self, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut buffer = lock(&self.buffer);
        let has_room = buffer.len() < capacity;
        if has_room {
            write(&mut buffer);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        drop(buffer);
        self.wake.touch();
        has_room
    }

    /// Empties the buffer.
    fn take(&self) -> Vec<u8> {
        let taken = std::mem::take(&mut *lock(&self.buffer));
        self.room.notify_waiters();
        taken
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

/// One target and what goes there.
struct Output {
    sink: Option<Sink>,
    lines: Vec<Arc<Lines>>,
    /// When the first line was written that is not synchronised.
    written: Option<Instant>,
    trouble: Trouble,
    reporter: Option<Reporter>,
}

struct Sink {
    target: Target,
    /// The last batch was cut somewhere.
    torn: bool,
}

/// How a target that fails is reported: when it begins, when it is over, and not again and again.
#[derive(Debug, Default)]
struct Trouble {
    lost: u64,
    told: Option<Instant>,
    is_open: bool,
}

fn write_loop(outlet: &Outlet, mut output: Output) {
    let mut batches = vec![Vec::new(); outlet.lines.len()];
    loop {
        // Lines that wait for their synchronisation do not wait for further lines.
        let stop = outlet.wake.wait(output.sync_due());
        let handovers = outlet.collect(&mut batches);
        for handover in handovers {
            output.turn(handover);
        }
        output.flush(&mut batches);
        if stop || output.sync_due().is_some_and(|due| due <= Instant::now()) {
            output.sync();
        }
        if stop {
            return;
        }
    }
}

impl Output {
    fn new(target: Option<Target>, lines: Vec<Arc<Lines>>, reporter: Option<Reporter>) -> Self {
        Self { sink: target.map(Sink::new), lines, written: None, trouble: Trouble::default(), reporter }
    }

    /// Writes what was collected, one batch for each buffer.
    fn flush(&mut self, batches: &mut [Vec<u8>]) {
        for (index, batch) in batches.iter_mut().enumerate().filter(|(_, batch)| !batch.is_empty()) {
            let lines = Arc::clone(&self.lines[index]);
            self.write(batch, &lines);
            batch.clear();
            batch.shrink_to(64 << 10);
        }
    }

    /// Ends with one target and begins with another.
    fn turn(&mut self, handover: Handover) {
        let lines = Arc::clone(&self.lines[0]);
        if !handover.rest.is_empty() {
            self.write(&handover.rest, &lines);
        }
        self.sync();
        self.sink = handover.next.map(Sink::new);
    }

    fn write(&mut self, batch: &[u8], lines: &Lines) {
        let written = match &mut self.sink {
            Some(sink) => sink.write(batch),
            // A line that was on its way while its target was taken away.
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        match written {
            Ok(()) => self.succeeded(),
            Err(error) => {
                let lost = batch.iter().filter(|byte| **byte == b'\n').count() as u64;
                lines.dropped.fetch_add(lost, Ordering::Relaxed);
                self.failed(&error, lost);
            }
        }
    }

    fn succeeded(&mut self) {
        if matches!(self.sink, Some(Sink { target: Target::File { sync: Sync::Interval, .. }, .. })) {
            self.written.get_or_insert_with(Instant::now);
        }
        if let Some(lost) = self.trouble.over()
            && let Some(Reporter { log, name }) = &self.reporter
        {
            log.write(Level::Warn, format_args!("the {name} is written again"), &[("lost", &lost)]);
        }
    }

    fn failed(&mut self, error: &io::Error, lost: u64) {
        if self.sink.is_some()
            && self.trouble.failed(lost, Instant::now())
            && let Some(Reporter { log, name }) = &self.reporter
        {
            let message = format_args!("cannot write the {name}: its lines are lost until that is mended");
            log.write(Level::Error, message, &[("error", error)]);
        }
    }

    fn sync_due(&self) -> Option<Instant> {
        self.written.map(|written| written + SYNC)
    }

    fn sync(&mut self) {
        if self.written.take().is_none() {
            return;
        }
        if let Some(Sink { target: Target::File { file, sync: Sync::Interval }, .. }) = &self.sink
            && let Err(error) = file.sync_data()
        {
            // How many lines are lost nobody can tell.
            self.lines[0].dropped.fetch_add(1, Ordering::Relaxed);
            self.failed(&error, 1);
        }
    }
}

impl Trouble {
    /// Takes note of lost lines. Returns whether to say so.
    fn failed(&mut self, lost: u64, now: Instant) -> bool {
        self.lost += lost;
        let tell = !self.is_open && self.told.is_none_or(|told| now.duration_since(told) >= QUIET);
        if tell {
            (self.is_open, self.told) = (true, Some(now));
        }
        tell
    }

    /// A write succeeded. Returns the number of lost lines if a failure had been told.
    fn over(&mut self) -> Option<u64> {
        std::mem::take(&mut self.is_open).then(|| std::mem::take(&mut self.lost))
    }
}

impl Sink {
    fn new(target: Target) -> Self {
        Self { target, torn: false }
    }

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

    fn file(path: &std::path::Path, sync: Sync) -> Target {
        Target::File { file: File::options().create(true).append(true).open(path).unwrap(), sync }
    }

    fn line(lines: &Lines, text: &str) {
        lines.append(|out| out.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn lines_reach_the_file_before_the_end_and_overflow_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut console = Console::default();
        let (_, lines) = console.open(Some(file(&path, Sync::Always)), 2, None).unwrap();
        line(&lines[0], "one\n");
        line(&lines[1], "two\n");
        drop(console);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        // Nobody writes any more: the buffer fills up, then drops.
        lines[0].append(|out| out.resize(CAPACITY, b'x'));
        assert!(!lines[0].append(|out| out.extend_from_slice(b"lost\n")));
        assert_eq!(lines[0].dropped(), 1);
        // Who has waited for room is not turned away because others were quicker.
        assert!(lines[0].append_after_room(|out| out.extend_from_slice(b"kept\n")));
        assert_eq!(lines[0].dropped(), 1);
    }

    #[test]
    fn a_new_target_takes_what_comes_and_the_old_one_keeps_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let lines = vec![Arc::new(Lines::new(Arc::default()))];
        let mut output = Output::new(Some(file(&old, Sync::Interval)), lines.clone(), None);
        let wake = Arc::clone(&lines[0].wake);
        let outlet = Outlet { wake, lines: lines.clone(), handovers: Mutex::default() };
        line(&lines[0], "before\n");
        outlet.redirect(Some(file(&new, Sync::Off)));
        line(&lines[0], "after\n");
        outlet.redirect(None);
        line(&lines[0], "nowhere\n");
        let mut batches = [Vec::new()];
        for handover in outlet.collect(&mut batches) {
            output.turn(handover);
        }
        output.flush(&mut batches);
        assert_eq!(std::fs::read_to_string(old).unwrap(), "before\n");
        assert_eq!(std::fs::read_to_string(new).unwrap(), "after\n");
        assert_eq!(lines[0].dropped(), 1, "the line that came too late");
    }

    #[test]
    fn the_writer_turns_to_a_new_target_without_further_lines() {
        let dir = tempfile::tempdir().unwrap();
        let mut console = Console::default();
        let (outlet, lines) = console.open(None, 1, None).unwrap();
        outlet.redirect(Some(file(&dir.path().join("log"), Sync::Off)));
        while !lock(&outlet.handovers).is_empty() {
            std::thread::yield_now();
        }
        line(&lines[0], "one\n");
        drop(console);
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "one\n");
    }

    #[test]
    fn what_is_written_is_soon_synchronised_without_further_lines() {
        let wake = Arc::new(Wake::default());
        let lines = vec![Arc::new(Lines::new(Arc::clone(&wake)))];
        let file = tempfile::tempfile().unwrap();
        let mut output = Output::new(Some(Target::File { file, sync: Sync::Interval }), lines, None);
        assert_eq!(output.sync_due(), None, "nothing to synchronise, nothing to wait for");
        line(&output.lines[0], "one\n");
        output.flush(&mut [output.lines[0].take()]);
        let due = output.sync_due().unwrap();
        assert!(due <= Instant::now() + SYNC);
        line(&output.lines[0], "two\n");
        output.flush(&mut [output.lines[0].take()]);
        assert_eq!(output.sync_due(), Some(due), "later lines do not put it off");
        wake.dirty.store(false, Ordering::SeqCst);
        assert!(!wake.wait(Some(Instant::now())), "the writer does not wait for a line");
        output.sync();
        assert_eq!(output.sync_due(), None);
    }

    #[test]
    fn a_line_that_was_cut_does_not_spoil_the_next_one() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut sink = Sink::new(Target::File { file: File::open(log.path()).unwrap(), sync: Sync::Off });
        assert!(sink.write(b"one\n").is_err(), "it is open for reading only");
        sink.target = file(log.path(), Sync::Off);
        sink.write(b"two\n").unwrap();
        sink.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "\ntwo\nthree\n");
    }

    #[test]
    fn a_failing_target_is_reported_once_and_so_is_its_recovery() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        assert_eq!(trouble.over(), None);
        assert!(trouble.failed(3, start));
        assert!(!trouble.failed(4, start + QUIET * 2), "told already");
        assert_eq!(trouble.over(), Some(7));
        assert!(!trouble.failed(1, start + QUIET / 2), "it comes and goes");
        assert_eq!(trouble.over(), None);
        assert!(trouble.failed(1, start + QUIET));
        assert_eq!(trouble.over(), Some(2), "with what was lost in between");
    }
}
