//! How far a run is, how fast, and how long it will take: one line that is drawn over itself.

use std::collections::VecDeque;
use std::time::Duration;

/// The rate is that of the last seconds, so that a store that slows down shows.
const WINDOW: Duration = Duration::from_secs(10);

/// Times are since the start of the run; whoever asks has the clock.
#[derive(Debug)]
pub(super) struct Progress {
    total: u64,
    done: u64,
    /// When how many were done, oldest first; the first is at or before the beginning of the window.
    history: VecDeque<(Duration, u64)>,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self { total, done: 0, history: VecDeque::from([(Duration::ZERO, 0)]) }
    }

    pub(super) fn step(&mut self) {
        self.done += 1;
    }

    /// Keys per second.
    fn rate(&mut self, now: Duration) -> f64 {
        self.history.push_back((now, self.done));
        while self.history.get(1).is_some_and(|(time, _)| now.saturating_sub(*time) >= WINDOW) {
            self.history.pop_front();
        }
        let (since, before) = self.history[0];
        let seconds = now.saturating_sub(since).as_secs_f64();
        if seconds > 0.0 { (self.done - before) as f64 / seconds } else { 0.0 }
    }

    /// The line for a terminal of that many columns, never longer.
    pub(super) fn line(&mut self, now: Duration, columns: usize) -> String {
        let rate = self.rate(now);
        let share = if self.total == 0 { 1.0 } else { self.done as f64 / self.total as f64 };
        let percent = format!("{:3.0}%", (share * 100.0).floor());
        let facts = format!("  {}/{}  {}/s  {}", self.done, self.total, whole(rate), self.left(rate));
        // A line that fills the last column makes some terminals go on to the next.
        let room = columns.saturating_sub(1);
        let width = room.saturating_sub(percent.len() + facts.len() + 3).min(40);
        let text =
            if width >= 8 { format!("[{}] {percent}{facts}", bar(share, width)) } else { format!("{percent}{facts}") };
        text.chars().take(room).collect()
    }

    fn left(&self, rate: f64) -> String {
        let keys = self.total.saturating_sub(self.done);
        if keys == 0 {
            return "done".into();
        }
        if rate <= 0.0 {
            return "waiting".into();
        }
        format!("{} left", clock((keys as f64 / rate).ceil()))
    }
}

fn bar(share: f64, width: usize) -> String {
    let full = ((share * width as f64) as usize).min(width);
    let head = if full < width { ">" } else { "" };
    format!("{}{head}{}", "=".repeat(full), " ".repeat(width - full - head.len()))
}

fn whole(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// `42s`, `3m07s`, `2h15m`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.min(1e9) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(total: u64, done: u64, seconds: u64, columns: usize) -> String {
        let mut progress = Progress::new(total);
        (0..done).for_each(|_| progress.step());
        progress.line(Duration::from_secs(seconds), columns)
    }

    #[test]
    fn the_line_has_share_rate_and_time_left() {
        assert_eq!(
            after(5000, 2500, 5, 80),
            "[====================>                   ]  50%  2500/5000  500/s  5s left"
        );
        assert_eq!(after(5000, 0, 0, 80), "[>                                       ]   0%  0/5000  0.0/s  waiting");
        assert_eq!(after(3, 3, 1, 80), "[========================================] 100%  3/3  3.0/s  done");
        assert_eq!(after(0, 0, 0, 80), "[========================================] 100%  0/0  0.0/s  done");
    }

    #[test]
    fn it_fits_into_any_width() {
        for columns in 0..120 {
            assert!(after(5000, 2499, 5, columns).chars().count() < columns.max(1), "{columns}");
        }
        assert_eq!(after(5000, 2500, 5, 40), " 50%  2500/5000  500/s  5s left");
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut progress = Progress::new(10_000);
        for second in 1..=30 {
            // 100 a second, then the store stalls.
            (0..if second <= 15 { 100 } else { 0 }).for_each(|_| progress.step());
            progress.line(Duration::from_secs(second), 80);
        }
        assert!(progress.line(Duration::from_secs(30), 80).ends_with("  1500/10000  0.0/s  waiting"));
    }

    #[test]
    fn times_are_short() {
        assert_eq!([59.0, 60.0, 187.0, 8100.0].map(clock), ["59s", "1m00s", "3m07s", "2h15m"]);
    }
}
