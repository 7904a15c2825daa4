//! Command transcripts that one can read: `transcripts/*.txt`.
//!
//! | line | does |
//! | --- | --- |
//! | `$ kes …` | runs the program in pipes: stdout, `[stderr]` and stderr, `[status]`; a stdout without newline at its end is marked `[no newline]` |
//! | `% kes …` | runs it on a pseudo-terminal: what one would see, with `␛` for escape, `[status]` |
//! | `& kes server …` | starts a server in the background, on a free port, for the commands that follow |
//! | `# …` | behind an empty line: a remark |
//!
//! Commands run in a folder with the files of `data/`, which is their home, and without any variable of KES. Variables
//! may stand before a command; behind one `< FILE` (standard input), `<<< TEXT` (standard input; on a terminal it is typed,
//! when the program asks), `> FILE` (stdout goes there and is not shown). What differs from run to run is masked: `<TIME>`,
//! `<KEY>`, `<BASE64>`, the port.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p kes-cli --test transcripts` writes the files anew, with a part of a file's name
//! only those; look at the difference.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

mod play;

use std::fs;
use std::path::Path;

use play::Stage;

#[test]
fn commands_print_what_the_transcripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let update = std::env::var("UPDATE_TRANSCRIPTS").ok();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let update = update.as_deref().map(|wanted| wanted == "1" || name.contains(wanted));
        if update == Some(false) {
            continue;
        }
        let expected = fs::read_to_string(&path).unwrap();
        let printed = Stage::new().play(&expected);
        if update.is_some() {
            fs::write(&path, printed).unwrap();
        } else if printed != expected {
            wrong.push(difference(&path, &expected, &printed));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first lines that differ.
fn difference(path: &Path, expected: &str, printed: &str) -> String {
    let lines = expected.lines().zip(printed.lines());
    let at = lines.take_while(|(expected, printed)| expected == printed).count();
    let show = |text: &str| text.lines().skip(at.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n");
    format!("{}:{}\n--- expected\n{}\n--- printed\n{}", path.display(), at + 1, show(expected), show(printed))
}
