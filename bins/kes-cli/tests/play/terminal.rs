//! A program on a pseudo-terminal, and somebody who types when it asks.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How questions end.
const PROMPTS: &[&str] = &["[y/N] ", "private key: ", "private key:"];

/// The exit status, and everything that was shown.
pub(crate) fn run(mut command: Command, typed: Option<&str>) -> (i32, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let end = || OwnedFd::from(slave.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().unwrap();
    // Ours must be closed, or the terminal never ends.
    drop((command, slave));
    let shown = converse(File::from(master), typed.unwrap_or_default());
    (child.wait().unwrap().code().unwrap(), shown)
}

/// Reads until the terminal ends, and types a line whenever the program asks for one.
fn converse(mut master: File, typed: &str) -> String {
    let mut lines = typed.lines();
    let (mut shown, mut buffer) = (Vec::new(), [0; 4096]);
    // A terminal that nobody has open any more is an error on Linux.
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
        if PROMPTS.iter().any(|prompt| shown.ends_with(prompt.as_bytes())) {
            // Who has nothing more to say presses Ctrl-D.
            let answer = lines.next().map_or_else(|| "\x04".to_owned(), |line| format!("{line}\r"));
            master.write_all(answer.as_bytes()).unwrap();
        }
    }
    String::from_utf8_lossy(&shown).into_owned()
}
