//! The page of `kes policy matrix -o html` in a real browser: two widths, both color schemes, with and without script.
//!
//! What is asked of it are facts that hold for any good-looking page: it is not blank, has the scheme's own background, nothing sticks
//! out at the right, the expected words are there, and what was written into the file to break out did not.

#![expect(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kes_tests::Binary;
use serde_json::Value;

const CONFIG: &str = r#"
admin: {identity: 339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23}
tls: {key: k, cert: c}
keystore: {fs: {path: keys}}
policy:
  minio:
    allow: [/v1/key/create/*, /v1/key/generate/*, /v1/key/decrypt/*, /v1/key/list/*, /v1/status, /v1/metrics]
    deny: [/v1/key/*/internal*]
    identities:
    - ${MINIO_IDENTITY}
    - 7fe814cd250ba0e0832e9e65aca7974e20a866e77b296b9c0748467bdb898b5e # </td><script>document.title = "broken out"</script>
  a-team-with-a-name-as-long-as-names-may-be-which-is-eighty-letters-and-no-more-x:
    allow:
    - /v1/key/generate/a-key-with-a-name-as-long-as-names-may-be-which-is-eighty-letters-and-no-more-xx
    - "/v1/key/decrypt/<script>document.title = 'broken out'</script>*"
    - /v1/key/delete/tmp-*
    - /v1/policy/*/*
    identities: [fd110d301d2f077de1414b8f99f441b1403fab207b2052fbd2c065e4ee8e7dc2]
"#;

/// A folder with the page.
fn page() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.yml"), CONFIG).unwrap();
    let mut command = Command::new(Binary::Kes.path());
    command.current_dir(folder.path()).env_remove("MINIO_IDENTITY").stdin(Stdio::null());
    let output = command.args(["policy", "matrix", "--config", "config.yml", "-o", "html"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (path, text) = (folder.path().join("page.html"), String::from_utf8(output.stdout).unwrap());
    fs::write(&path, &text).unwrap();
    (folder, path, text)
}

/// Runs the browser, which must be there, and gives what it printed.
fn chromium(folder: &Path, page: &Path, flags: &[String]) -> String {
    let profile = tempfile::tempdir_in(folder).unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(flags)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .expect("chromium is missing: run peers/peers.sh install chromium");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Color schemes as the browser's engine numbers them.
const DARK: u8 = 0;
const LIGHT: u8 = 1;

fn window(width: u32, scheme: u8) -> Vec<String> {
    vec![format!("--window-size={width},1600"), format!("--blink-settings=preferredColorScheme={scheme}")]
}

/// Runs a script in a page and gives the JSON that it makes. The page's own policy, which would forbid the script, is taken out.
fn probe(folder: &Path, page: &str, flags: &[String], script: &str) -> Value {
    let start = page.find("<meta http-equiv=").unwrap_or_default();
    let end = start + page[start..].find('>').map_or(0, |at| at + 1);
    let probe = format!(
        "{}{}<script>window.onload = () => {{ let result; try {{ result = (() => {{ {script} }})(); }} catch (error) {{ result = String(error); }} \
         document.body.setAttribute('data-probe', encodeURIComponent(JSON.stringify(result))); }};</script>",
        &page[..start],
        &page[end..]
    );
    let path = folder.join("probe.html");
    fs::write(&path, probe).unwrap();
    let printed = chromium(folder, &path, &[flags, &["--dump-dom".to_owned()]].concat());
    let (_, found) = printed.split_once("data-probe=\"").expect("the probe has run");
    serde_json::from_str(&decoded(found.split('"').next().unwrap())).unwrap()
}

/// Undoes `encodeURIComponent`.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// What can be said of the pixels of a picture, counted by the browser itself.
const PIXELS: &str = r"
    const image = document.querySelector('img');
    const canvas = document.createElement('canvas');
    canvas.width = image.width; canvas.height = image.height;
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const at = (x, y) => { const i = 4 * (y * canvas.width + x); return (data[i] << 16) | (data[i + 1] << 8) | data[i + 2]; };
    const counts = new Map();
    let edge = 0;
    for (let y = 0; y < canvas.height; y++) {
      for (let x = 0; x < canvas.width; x++) {
        const color = at(x, y);
        counts.set(color, (counts.get(color) || 0) + 1);
      }
    }
    const [background, most] = [...counts].sort((a, b) => b[1] - a[1])[0];
    for (let y = 0; y < canvas.height; y++) for (let x = canvas.width - 8; x < canvas.width; x++) edge += at(x, y) !== background;
    return { width: canvas.width, height: canvas.height, background, share: most / (canvas.width * canvas.height), colors: counts.size, edge };
";

fn pixels(folder: &Path, page: &Path, flags: &[String]) -> Value {
    let picture = folder.join("page.png");
    chromium(folder, page, &[flags, &[format!("--screenshot={}", picture.display())]].concat());
    let picture = STANDARD.encode(fs::read(picture).unwrap());
    probe(folder, &format!("<!doctype html><body><img src='data:image/png;base64,{picture}'>"), &[], PIXELS)
}

#[test]
#[ignore = "needs chromium: peers/peers.sh install chromium"]
fn it_is_drawn_at_both_widths_in_both_schemes_and_nothing_sticks_out() {
    let (folder, path, _) = page();
    for width in [1440, 420] {
        for (scheme, background) in [(LIGHT, 0x00fc_fcfb), (DARK, 0x0015_181c)] {
            let facts = pixels(folder.path(), &path, &window(width, scheme));
            let name = format!("{width} {scheme}: {facts}");
            assert_eq!(facts["width"], width, "{name}");
            assert_eq!(facts["background"], background, "{name}");
            let share = facts["share"].as_f64().unwrap();
            assert!((0.4..0.97).contains(&share), "neither blank nor cluttered: {name}");
            assert!(facts["colors"].as_u64().unwrap() > 50, "text is smooth and cells have their colors: {name}");
            assert_eq!(facts["edge"], 0, "{name}");
        }
    }
}

#[test]
#[ignore = "needs chromium: peers/peers.sh install chromium"]
fn it_says_what_it_should_and_does_not_run_what_the_file_says() {
    let (folder, _, text) = page();
    for width in [1440, 420] {
        let script = "const shown = (element) => getComputedStyle(element).display !== 'none';
            const cell = (policy, operation) => document.querySelector(`tbody[data-policy='${policy}'] td[data-op='${operation}']`).innerText.trim();
            const text = document.body.innerText;
            const input = document.querySelector('#filter input');
            const all = [...document.querySelectorAll('main tbody')].filter(shown).length;
            input.value = '7FE814CD'; input.dispatchEvent(new Event('input'));
            const broken = [...document.querySelectorAll('thead span')].flatMap((head) => {
              const text = head.firstChild.data;
              return [...text.matchAll(/\\S+/g)].filter((word) => {
                const range = document.createRange();
                range.setStart(head.firstChild, word.index); range.setEnd(head.firstChild, word.index + word[0].length);
                return range.getClientRects().length > 1;
              }).map(String);
            });
            const left = [...document.querySelectorAll('main tbody')].filter(shown).map((body) => body.dataset.policy);
            return { title: document.title, overflow: document.documentElement.scrollWidth - innerWidth, text,
              generate: cell('minio', 'generate'), hidden: document.querySelectorAll('td script, th script').length, all, left, broken };";
        let facts = probe(folder.path(), &text, &window(width, LIGHT), script);
        assert_eq!(facts["title"], "Who may do what: config.yml", "a script of the file ran");
        assert!(facts["overflow"].as_i64().unwrap() <= 0, "{width}: {}", facts["overflow"]);
        assert_eq!(facts["hidden"], 0);
        assert_eq!(facts["broken"], serde_json::json!([]), "a word of a heading is broken");
        assert_eq!(
            facts["generate"].as_str().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["all", "not", "internal*"]
        );
        assert_eq!(facts["all"], 6, "the administrator and two policies, in two tables");
        assert_eq!(facts["left"], serde_json::json!(["minio", "minio"]), "the filter finds identities in both tables");
        let shown = facts["text"].as_str().unwrap();
        for expected in
            ["Who may do what to which keys", "${MINIO_IDENTITY}", "7fe814cd250ba0e0832e9e65", "tmp-*", "</td><script>"]
        {
            assert!(shown.contains(expected), "{width}: {expected}\n{shown}");
        }
    }
}

#[test]
#[ignore = "needs chromium: peers/peers.sh install chromium"]
fn it_is_read_and_printed_without_script() {
    let (folder, path, text) = page();
    let (start, end) = (text.find("<script>").unwrap(), text.find("</script>").unwrap());
    fs::write(&path, format!("{}{}", &text[..start], &text[end..])).unwrap();
    let facts = pixels(folder.path(), &path, &window(1440, LIGHT));
    assert!((0.4..0.97).contains(&facts["share"].as_f64().unwrap()), "{facts}");

    let pdf = folder.path().join("page.pdf");
    chromium(folder.path(), &path, &[format!("--print-to-pdf={}", pdf.display()), "--no-pdf-header-footer".to_owned()]);
    let pdf = fs::read(pdf).unwrap();
    let printed = String::from_utf8_lossy(&pdf);
    assert!(printed.starts_with("%PDF"));
    let boxes: Vec<_> =
        printed.split("/MediaBox [").skip(1).map(|rest| rest.split(']').next().unwrap().to_owned()).collect();
    assert!(!boxes.is_empty());
    for page in boxes {
        let size: Vec<f32> = page.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert!(size[2] > size[3], "a wide table is printed across: {page}");
    }
}
