//! What is told: a line for each sealed key, and the sums.

use std::collections::BTreeMap;

use kes_crypto::{Form, Layout};
use serde::Serialize;

use super::Target;
use super::minio::Seen;
use super::opener::Opened;
use super::sealed::Sealed;
use crate::output::Output;

/// One sealed key.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    source: String,
    key: String,
    /// `raw`, `message-pack`, `json`, `dare`, `vault-transit`.
    format: &'static str,
    /// `G0` to `G4`.
    generation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cipher: Option<&'static str>,
    /// Which key made it, if the ciphertext tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    pub(super) opens: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// All of one key, form and cipher.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    key: String,
    format: &'static str,
    generation: &'static str,
    cipher: Option<&'static str>,
    opened: usize,
    failed: usize,
}

/// Whether another program could read them.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    target: &'static str,
    pub(super) ready: bool,
    reasons: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// How many there are.
    found: usize,
    /// How many of them were tried.
    pub(super) checked: usize,
    opened: usize,
    pub(super) failed: usize,
    /// How many were left out when it made no sense to go on.
    not_tried: usize,
    groups: Vec<Group>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) readiness: Option<Readiness>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minio: Option<Minio>,
    pub(super) results: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Minio {
    unsealed_versions: usize,
    unsealed_config_files: usize,
    /// Their beginning lies on drives that were not named.
    unread_config_files: Vec<String>,
}

impl Line {
    pub(super) fn of(sealed: &Sealed, opened: Opened) -> Self {
        let form = Form::of(&sealed.ciphertext);
        let is_read = sealed.malformed.is_none();
        Self {
            source: sealed.source.clone(),
            key: sealed.key.clone(),
            format: if is_read { form.layout.as_str() } else { "" },
            generation: if is_read { form.generation } else { "" },
            cipher: opened.cipher,
            key_id: form.key_id,
            opens: opened.problem.is_none(),
            problem: opened.problem.as_ref().map(|problem| problem.code),
            detail: opened.problem.map(|problem| problem.text),
        }
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let verdict = if self.opens { output.green("opens") } else { output.red("FAILS") };
        let form = [self.format, self.generation, self.cipher.unwrap_or_default()];
        let form = form.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ");
        let detail = self.detail.as_ref().map(|detail| format!(": {}", safe(detail))).unwrap_or_default();
        let words = [self.key.as_str(), &form, &self.source];
        let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).map(|word| safe(word)).collect();
        format!("{verdict}  {}{detail}\n", words.join("  "))
    }
}

impl Report {
    pub(super) fn of(
        results: Vec<Line>,
        found: usize,
        planned: usize,
        seen: Option<Seen>,
        target: Option<Target>,
    ) -> Self {
        let groups = groups(&results);
        let opened = results.iter().filter(|line| line.opens).count();
        let minio = seen.map(|seen| Minio {
            unsealed_versions: seen.unsealed,
            unsealed_config_files: seen.plain_config,
            unread_config_files: seen.spread_config,
        });
        Self {
            found,
            checked: results.len(),
            opened,
            failed: results.len() - opened,
            not_tried: planned - results.len(),
            readiness: target.map(|target| Readiness::of(target, &groups)),
            groups,
            minio,
            results,
        }
    }

    pub(super) fn text(&self, output: &Output) -> String {
        let mut rows = vec![["key", "format", "cipher", "opened", "failed"].map(str::to_owned)];
        for group in &self.groups {
            let format = [group.format, group.generation].join(" ");
            let cipher = group.cipher.unwrap_or("?").to_owned();
            rows.push([
                safe(&group.key),
                format.trim().to_owned(),
                cipher,
                group.opened.to_string(),
                group.failed.to_string(),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 5] = std::array::from_fn(width);
        let mut text = String::from("\n");
        for (position, row) in rows.iter().enumerate() {
            let [key, format, cipher, opened, failed] = widths;
            let line = format!(
                "{:key$}  {:format$}  {:cipher$}  {:>opened$}  {:>failed$}",
                row[0], row[1], row[2], row[3], row[4]
            );
            text += &if position == 0 { output.underline(&line) } else { line };
            text.push('\n');
        }
        text += &format!("\n{}\n", self.verdict(output));
        if let Some(minio) = &self.minio {
            text += &minio.text();
        }
        if let Some(readiness) = &self.readiness {
            text += &readiness.text(output);
        }
        text
    }

    fn verdict(&self, output: &Output) -> String {
        let sampled = if self.found > self.checked + self.not_tried {
            format!(", a sample of {}", self.found)
        } else {
            String::new()
        };
        let rest = if self.not_tried > 0 { format!("; {} not tried", self.not_tried) } else { String::new() };
        match self.failed {
            0 => output.green(&format!("all {} open{sampled}{rest}", self.opened)),
            failed => output.red(&format!("{failed} of {} do not open{sampled}{rest}", self.checked)),
        }
    }
}

impl Minio {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.unsealed_versions + self.unsealed_config_files > 0 {
            text += &format!(
                "not sealed by a KMS: versions of objects {}, configuration files {}\n",
                self.unsealed_versions, self.unsealed_config_files
            );
        }
        if let Some(first) = self.unread_config_files.first() {
            text += &format!(
                "not looked at: configuration files {}, spread over several drives, such as {first}; name each drive \
                 with --minio-data\n",
                self.unread_config_files.len()
            );
        }
        text
    }
}

impl Readiness {
    fn of(target: Target, groups: &[Group]) -> Self {
        let mut reasons = Vec::new();
        let name = target.title();
        for group in groups {
            let Group { key, format, generation, cipher, .. } = group;
            let count = group.opened + group.failed;
            let is_raw = *format == Layout::Raw.as_str();
            match (is_raw, *cipher) {
                _ if group.failed > 0 => reasons.push(format!("{} sealed by '{key}' do not open here", group.failed)),
                (true, Some("AES256")) => {}
                (true, Some(cipher)) => {
                    reasons.push(format!("{count} sealed by '{key}' are raw {cipher}, which {name} takes for AES256"));
                }
                (true, None) => reasons.push(format!(
                    "the cipher of '{key}' is not known: the policy must allow /v1/key/describe/{key}"
                )),
                (false, _) if *format == Layout::Json.as_str() => reasons.push(format!(
                    "{count} sealed by '{key}' are of the old form {format} ({generation}), which {name} reads only in part"
                )),
                (false, _) => reasons.push(format!(
                    "{count} sealed by '{key}' are of the old form {format} ({generation}), which {name} cannot read"
                )),
            }
        }
        let mut keys: Vec<_> = groups.iter().map(|group| group.key.as_str()).collect();
        keys.dedup();
        if keys.len() > 1 {
            reasons.push(format!("{name} holds one key, and {} are in use: {}", keys.len(), keys.join(", ")));
        }
        Self { target: target.word(), ready: reasons.is_empty(), reasons }
    }

    fn text(&self, output: &Output) -> String {
        if self.ready {
            return format!("{}\n", output.green(&format!("ready for {}", self.target)));
        }
        let mut text = format!("{}\n", output.red(&format!("NOT ready for {}:", self.target)));
        for reason in &self.reasons {
            text += &format!("  - {}\n", safe(reason));
        }
        text + "`mc batch` with a keyrotate job seals everything anew, in the form that is read everywhere\n"
    }
}

fn groups(results: &[Line]) -> Vec<Group> {
    let mut groups: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    for line in results {
        let sums = groups.entry((line.key.as_str(), line.format, line.generation, line.cipher)).or_default();
        *(if line.opens { &mut sums.0 } else { &mut sums.1 }) += 1;
    }
    let group = |((key, format, generation, cipher), (opened, failed)): ((&str, _, _, _), _)| Group {
        key: key.to_owned(),
        format,
        generation,
        cipher,
        opened,
        failed,
    };
    groups.into_iter().map(group).collect()
}

/// Names from files without anything that a terminal acts upon.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
