//! A program on a pseudo-terminal of its own, whose keys and size are ours.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::Arc;

use rustix::process::{Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize};

use crate::bench::Printed;

pub(crate) struct Terminal {
    master: File,
    /// Kept open, so that the terminal is there before and after the program.
    slave: Option<File>,
    child: Child,
    pub(crate) shown: Arc<Printed>,
}

impl Terminal {
    /// Starts the program with the terminal as its controlling one: Ctrl-C and changes of size reach it as signals.
    pub(crate) fn start(command: Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        resize(&master, columns, rows);
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let end = || OwnedFd::from(slave.try_clone().unwrap());
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        session.env_clear().env("TERM", "xterm").env("LANG", "C.UTF-8").current_dir(command.get_current_dir().unwrap());
        session.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
        let child = session.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let master = File::from(master);
        let shown = Printed::collect(master.try_clone().unwrap());
        Self { master, slave: Some(slave), child, shown }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        resize(&self.master, columns, rows);
    }

    /// How the terminal is set: echo, lines, signals.
    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(self.slave.as_ref().unwrap()).unwrap()
    }

    /// Ends the program as service managers do.
    pub(crate) fn terminate(&self) {
        // Its session has one group: the program itself, below the helper that has made the session.
        let group = tcgetpgrp(&self.master).unwrap();
        kill_process_group(group, Signal::TERM).unwrap();
    }

    /// The exit status, and everything that was shown.
    pub(crate) fn end(self) -> (i32, String) {
        let (status, shown, _) = self.end_with_modes();
        (status, shown)
    }

    /// As [`Terminal::end`], with how the terminal is set then.
    pub(crate) fn end_with_modes(mut self) -> (i32, String, Termios) {
        let status = self.child.wait().unwrap();
        let modes = self.modes();
        self.slave = None;
        self.shown.ended();
        (status.code().unwrap(), self.shown.text(), modes)
    }
}

fn resize(master: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}
