//! `kes seal migrate|finish|undo|rotate`.

use kes_keystore::sealed::{Report, SealingKey};
use serde_json::{Value, json};

use super::access::{Place, keys, new_recovery_key};
use super::arguments::Migrate;
use super::slots::{document as slots_document, seal_now, sealed_already, sealed_text, unkeyed_recovery_slots};
use super::{show, tell};
use crate::failure::{Failure, Outcome};
use crate::output::Output;

pub(super) async fn migrate(mut place: Place, output: &Output, migrate: &Migrate) -> Outcome {
    // One command is enough for a directory of the old server: it seals the store as `init` does.
    let is_new = place.config.store.seal().is_some() && sealed_already(&place).await?.is_none();
    let (mut unlocked, recovery) = match is_new {
        true => seal_now(&place, output, migrate.no_recovery).await?,
        false => (place.unlock().await?.0, None),
    };
    let begin = if is_new { sealed_text(&unlocked) } else { String::new() };
    let migrated = unlocked.migrate(migrate.accept_plain, &mut |_| {}).await;
    let report = migrated.map_err(|error| match error {
        error @ kes_keystore::sealed::Error::Unfinished { .. } => place.failed(error).hint(
            "this store takes sealed keys only, so somebody may have slipped them in: delete them, or seal them with \
             --accept-plain",
        ),
        error => place.failed(error),
    })?;
    let end =
        "Their copies are kept as '-kes-plain-NAME': 'kes seal finish' removes them, 'kes seal undo' turns back\n";
    let end = if report.changed > 0 { end } else { "" };
    let mut document = document(&report);
    if is_new {
        document["seal"] = slots_document(&unlocked.table(), recovery.as_ref());
    }
    let text = text(&report, "sealed and verified", "sealed before");
    tell(output, &document, &format!("{begin}{text}{end}"))?;
    left(&report)
}

pub(super) async fn finish(mut place: Place, output: &Output) -> Outcome {
    let (mut unlocked, _) = place.unlock().await?;
    let report = unlocked.finish().await.map_err(|error| place.failed(error))?;
    let text = text(&report, "compared with their copies, which are gone now", "had no copy");
    tell(output, &document(&report), &format!("{text}The store takes sealed keys only\n"))?;
    left(&report)
}

pub(super) async fn undo(mut place: Place, output: &Output) -> Outcome {
    let (unlocked, _) = place.unlock().await?;
    let report = unlocked.undo(&mut |_| {}).await.map_err(|error| place.failed(error))?;
    let text = text(&report, "stored as MinIO KES does, and verified", "were never sealed");
    tell(
        output,
        &document(&report),
        &format!("{text}The store is not sealed any more: remove 'keystore.seal' before a server starts\n"),
    )?;
    left(&report)
}

pub(super) async fn rotate(mut place: Place, output: &Output, more: Vec<SealingKey>, dropped: &[u32]) -> Outcome {
    let (mut unlocked, mut at_hand) = place.unlock().await?;
    at_hand.extend(more);
    let mut shown = Vec::new();
    let interrupted = unlocked.table().retired > 0;
    if !interrupted {
        let unkeyed = unkeyed_recovery_slots(&place, &unlocked, &at_hand, dropped).await?;
        let besides: Vec<_> = unkeyed.iter().chain(dropped).copied().collect();
        unlocked.check_keys(&at_hand, &besides).await.map_err(|error| place.failed(error))?;
        let mut replaced = Vec::new();
        for id in unkeyed {
            let (key, recovery) = new_recovery_key()?;
            show(output, &recovery)?;
            shown.push(recovery);
            replaced.push((id, key));
        }
        unlocked.rotate(&at_hand, &replaced, dropped).await.map_err(|error| place.failed(error))?;
    }
    let report = unlocked.migrate(false, &mut |_| {}).await.map_err(|error| place.failed(error))?;
    let is_done = report.left.is_empty() && unlocked.table().entries.as_str() == "sealed";
    if is_done {
        unlocked.finish().await.map_err(|error| place.failed(error))?;
    }
    let what = if interrupted { "Went on with the rotation that was interrupted" } else { "Made a new root key" };
    let end = match is_done {
        true => "The old root key is forgotten. Backups from before still open with the keys from before\n",
        false => "The old root key is kept until 'kes seal finish'\n",
    };
    let text = format!("{what}\n{}{end}", text(&report, "sealed under the new root key", "sealed so before"));
    let mut document = document(&report);
    document["seal"] = slots_document(&unlocked.table(), shown.first());
    tell(output, &document, &text)?;
    left(&report)
}

fn text(report: &Report, changed: &str, unchanged: &str) -> String {
    let mut text = format!("{} {changed}\n", keys(report.changed));
    if report.unchanged > 0 {
        text += &format!("{} {unchanged}\n", keys(report.unchanged));
    }
    for (name, problem) in &report.left {
        text += &format!("left as it was: '{name}': {problem}\n");
    }
    text
}

pub(super) fn document(report: &Report) -> Value {
    let left: Vec<_> =
        report.left.iter().map(|(name, problem)| json!({"name": name.as_str(), "problem": problem})).collect();
    json!({"changed": report.changed, "unchanged": report.unchanged, "left": left})
}

/// What is no key is nobody's fault; a key that cannot be read is.
fn left(report: &Report) -> Outcome {
    match report.left.iter().filter(|(_, problem)| problem != "it is no key").count() {
        0 => Ok(()),
        count => Err(Failure::new(format!("{} cannot be read", keys(count)))),
    }
}
