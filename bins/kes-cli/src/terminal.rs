//! What can be shown on the terminal behind stdout.

use crate::environment::Lookup;

/// Columns and rows of the terminal; 80 × 24 if it does not say.
pub(crate) fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
    size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24))
}

/// Whether it can go back and write over what is there.
pub(crate) fn can_redraw(lookup: Lookup<'_>) -> bool {
    lookup("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether it shows more than ASCII.
pub(crate) fn is_unicode(lookup: Lookup<'_>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(lookup).find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// The first `columns` characters. Our texts have no wide ones; anything that would move the cursor is shown as `?`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    text.chars().take(columns).map(|char| if char.is_control() { '?' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_tells_what_a_terminal_can() {
        let with =
            |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert!(can_redraw(&with("TERM", "xterm")));
        assert!(!can_redraw(&with("TERM", "dumb")) && !can_redraw(&|_| None));
        assert!(is_unicode(&with("LANG", "de_DE.UTF-8")) && is_unicode(&with("LC_ALL", "C.utf8")));
        assert!(!is_unicode(&with("LANG", "C")) && !is_unicode(&|_| None));
    }

    #[test]
    fn a_cut_text_is_one_line() {
        assert_eq!(cut("a\x1b[2Jb\nc", 7), "a?[2Jb?");
    }
}
