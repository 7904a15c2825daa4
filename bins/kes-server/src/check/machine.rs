//! The clock of this machine: certificates are judged by it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kes_config::Inspection;

use super::report::Report;

/// Where this machine tells of itself.
pub(super) struct Machine {
    /// `/`, but in tests.
    root: PathBuf,
    now: SystemTime,
}

impl Machine {
    pub(super) fn this() -> Self {
        Self { root: PathBuf::from("/"), now: SystemTime::now() }
    }

    pub(super) fn check(&self, report: &mut Report, file: &Inspection) {
        if self.is_unsynchronised() {
            report.warn(
                None,
                "the clock of this machine is not synchronised: certificates are judged by it",
                "`timedatectl` shows its state; is a time server reachable?",
            );
        }
        if let Some(place) = file.place("")
            && self.is_before(Path::new(&*place.file))
        {
            report.warn(
                Some(place),
                "the clock of this machine is slow: the file was changed in the future",
                "set the clock right: certificates are judged by it",
            );
        }
    }

    /// systemd-timesyncd runs, and has not reached a time server since the machine was started. Whoever keeps the clock
    /// by other means (chrony, ntpd, the host of a virtual machine or container) leaves no such trace and is believed.
    fn is_unsynchronised(&self) -> bool {
        let at = |path: &str| self.root.join(path).exists();
        at("run/systemd/system")
            && at("run/systemd/timesync")
            && !at("run/systemd/timesync/synchronized")
            && !self.is_container()
    }

    /// The clock of a container is its host's.
    fn is_container(&self) -> bool {
        let marks = [".dockerenv", "run/.containerenv", "run/systemd/container", "run/secrets/kubernetes.io"];
        marks.iter().any(|mark| self.root.join(mark).exists())
    }

    /// A file cannot have been changed later than now; a second is for file systems that round.
    fn is_before(&self, path: &Path) -> bool {
        let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| changed.duration_since(self.now).is_ok_and(|ahead| ahead.as_secs() > 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn machine(files: &[&str]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            std::fs::write(path, "").expect("a file");
        }
        let machine = Machine { root: root.path().to_owned(), now: SystemTime::now() };
        (root, machine)
    }

    #[test]
    fn only_a_waiting_timesyncd_is_a_sign() {
        let waiting = ["run/systemd/system/x", "run/systemd/timesync/x"];
        assert!(machine(&waiting).1.is_unsynchronised());
        let synchronised = [waiting.as_slice(), &["run/systemd/timesync/synchronized"]].concat();
        for quiet in [&[][..], &["run/systemd/system/x"], &["run/systemd/timesync/x"], &synchronised] {
            assert!(!machine(quiet).1.is_unsynchronised(), "{quiet:?}");
        }
    }

    #[test]
    fn never_in_a_container() {
        for mark in [".dockerenv", "run/.containerenv", "run/systemd/container", "run/secrets/kubernetes.io/token"] {
            let files = ["run/systemd/system/x", "run/systemd/timesync/x", mark];
            assert!(!machine(&files).1.is_unsynchronised(), "{mark}");
        }
    }

    #[test]
    fn a_file_of_the_future_shows_a_slow_clock() {
        let (root, mut machine) = machine(&["file"]);
        let file = root.path().join("file");
        assert!(!machine.is_before(&file));
        machine.now -= Duration::from_secs(3600);
        assert!(machine.is_before(&file));
        assert!(!machine.is_before(&root.path().join("missing")));
    }
}
