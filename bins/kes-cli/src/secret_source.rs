//! Secrets that a file or a program gives.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::failure::{Failure, Outcome};
use crate::input::{self, Secret};
use crate::servers_file::Source;

/// How long a program may take: long enough to unlock a password manager by hand.
const LIMIT: Duration = Duration::from_secs(60);

/// Longest secret that a program may print, in bytes.
const MAX: usize = 64 << 10;

/// The secret, without the line break at its end. `what` is how errors call it.
pub(crate) fn fetch(source: &Source, what: &str) -> Outcome<Zeroizing<String>> {
    let bytes = match source {
        Source::Text(text) => return Ok(text.clone()),
        Source::File(path) => input::value(&format!("@{}", path.display()))?,
        Source::Command(words) => run(words, LIMIT).map_err(|failure| failure.while_doing(what))?,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new(format!("{what} is not text")))?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Runs a program and takes what it prints. It may ask at the terminal and complain on stderr, but not read stdin, which
/// may hold the message.
fn run(words: &[String], limit: Duration) -> Outcome<Secret> {
    let failed = |why: String| Failure::new(format!("running '{}': {why}", words[0]));
    let (program, arguments) = words.split_first().expect("a command has a program");
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(input::reason(&error)))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = mpsc::sync_channel(1);
    // A thread of its own, because a program that is ended may leave others that hold the pipe.
    std::thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX + 1));
        let read = stdout.take(MAX as u64 + 1).read_to_end(&mut bytes).map(|_| bytes);
        // Nobody listens any more after the limit.
        let _ = sender.send(read);
    });
    let bytes = match receiver.recv_timeout(limit) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(failed(input::reason(&error))),
        Err(_) => return Err(failed(too_long(&mut child, limit))),
    };
    if bytes.len() > MAX {
        end(&mut child);
        return Err(failed("it prints more than 64 KiB".into()));
    }
    let status = loop {
        match child.try_wait().map_err(|error| failed(input::reason(&error)))? {
            Some(status) => break status,
            None if started.elapsed() > limit => return Err(failed(too_long(&mut child, limit))),
            // It has said all it has to say, so it ends now or hangs.
            None => std::thread::park_timeout(Duration::from_millis(5)),
        }
    };
    match status.success() {
        true if bytes.trim_ascii().is_empty() => Err(failed("it prints nothing".into())),
        true => Ok(bytes),
        false => Err(failed(format!("it ended with {status}"))),
    }
}

fn too_long(child: &mut Child, limit: Duration) -> String {
    end(child);
    format!("it has not ended within {limit:?}")
}

fn end(child: &mut Child) {
    let _ = child.kill(); // it may have ended just now
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn error(script: &str, limit: Duration) -> String {
        run(&words(script), limit).unwrap_err().text
    }

    #[test]
    fn a_program_gives_what_it_prints() {
        let source = Source::Command(words("printf 'se cret\\r\\n'"));
        assert_eq!(fetch(&source, "API key").unwrap().as_str(), "se cret");
        assert_eq!(fetch(&Source::Command(words("cat; echo done")), "API key").unwrap().as_str(), "done");
    }

    #[test]
    fn a_program_that_fails_gives_nothing() {
        assert_eq!(error("echo half; exit 3", LIMIT), "running 'sh': it ended with exit status: 3");
        assert_eq!(error("echo", LIMIT), "running 'sh': it prints nothing");
        assert_eq!(error("head -c 70000 /dev/zero", LIMIT), "running 'sh': it prints more than 64 KiB");
        let failure = fetch(&Source::Command(vec!["/no/such".into()]), "API key").unwrap_err();
        assert_eq!(failure.text, "API key: running '/no/such': no such file or directory");
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        // Its child keeps the pipe open; that must not hold us either.
        let text = error("exec >&-; sleep 5", Duration::from_millis(50));
        assert_eq!(text, "running 'sh': it has not ended within 50ms");
        let text = error("sleep 5 & sleep 5", Duration::from_millis(50));
        assert_eq!(text, "running 'sh': it has not ended within 50ms");
    }
}
