//! `kes seal status`.

use std::sync::Arc;

use kes_keystore::KeyStore;
use kes_keystore::sealed::{Form, SealingKey, SlotInfo, Survey, TableInfo, Unlocked};
use serde_json::{Value, json};

use super::access::{Place, refused};
use super::tell;
use crate::failure::{Failure, Outcome};
use crate::output::Output;

pub(super) async fn run(mut place: Place, output: &Output) -> Outcome {
    let inner = place.config.store.open_beneath().await.map_err(|error| refused(&error))?;
    let Some(table) = TableInfo::read(inner.as_ref()).await.map_err(|error| place.failed(error))? else {
        let survey = Survey::of(inner.as_ref()).await.map_err(|error| place.failed(error))?;
        let store = inner.describe();
        let counts = Counts::of(&survey);
        let text = format!("Store    {store}\nSeal     none\nKeys     {}\n", counts.text());
        return tell(output, &json!({"store": store, "sealed": false, "keys": counts.document()}), &text);
    };
    // Whoever has lost the key wants to see the slots most of all: what is wrong is said after them.
    let opened = open(&mut place, &inner).await;
    let survey = match &opened {
        Ok((unlocked, _)) => unlocked.survey().await,
        Err(_) => Survey::of(inner.as_ref()).await,
    };
    let survey = survey.map_err(|error| place.failed(error))?;
    let counts = Counts::of(&survey);
    let by = opened.as_ref().ok().map(|(unlocked, keys)| {
        let (index, slot) = unlocked.opened_by();
        (keys[index].source().to_owned(), slot)
    });
    let document = json!({
        "store": inner.describe(),
        "sealed": true,
        "id": table.store,
        "revision": table.revision,
        "entries": table.entries.as_str(),
        "root": table.root,
        "retired_roots": table.retired,
        "slots": table.slots.iter().map(slot_document).collect::<Vec<_>>(),
        "opened_by": by.as_ref().map(|(source, slot)| json!({"key": source, "slot": slot})),
        "keys": counts.document(),
    });
    tell(output, &document, &text(output, &inner.describe(), &table, by.as_ref(), &survey))?;
    opened.map(drop)
}

async fn open(place: &mut Place, inner: &Arc<dyn KeyStore>) -> Outcome<(Unlocked, Vec<SealingKey>)> {
    let keys = place.keys().await?;
    let unlocked = Unlocked::open(Arc::clone(inner), &keys).await.map_err(|error| place.failed(error))?;
    Ok((unlocked, keys))
}

fn text(output: &Output, store: &str, table: &TableInfo, by: Option<&(String, u32)>, survey: &Survey) -> String {
    let entries = match table.entries.as_str() {
        "sealed" => "sealed: other keys are refused",
        "mixed" => "mixed: keys from before the seal are served as they are ('kes seal migrate', 'kes seal finish')",
        _ => "unsealing: the seal is being removed ('kes seal undo')",
    };
    let by = match by {
        Some((source, slot)) => format!("with {source} (slot {slot})"),
        None => "with nothing that the configuration names".to_owned(),
    };
    let mut lines = vec![
        format!("Store    {store}"),
        format!("Id       {}", table.store),
        format!("Entries  {entries}"),
        format!("Opens    {by}"),
        format!("Keys     {}", Counts::of(survey).text()),
        "Slots".to_owned(),
    ];
    lines.extend(table.slots.iter().map(slot_line));
    for (name, form) in &survey.entries {
        if let Form::Unreadable(problem) = form {
            lines.push(format!("{} '{name}': {problem}", output.red("Unreadable")));
        }
    }
    lines.join("\n") + "\n"
}

/// `  1  passphrase  keystore.seal.passphrase (Argon2id, 64 MiB, 3 passes)`.
pub(super) fn slot_line(slot: &SlotInfo) -> String {
    let costs = slot.costs.map(|costs| match costs.memory_kib % 1024 {
        0 => format!(" (Argon2id, {} MiB, {} passes)", costs.memory_kib / 1024, costs.passes),
        _ => format!(" (Argon2id, {} KiB, {} passes)", costs.memory_kib, costs.passes),
    });
    format!("  {:<3}{:<12}{}{}", slot.id, slot.kind, slot.label, costs.unwrap_or_default())
}

pub(super) fn slot_document(slot: &SlotInfo) -> Value {
    let costs =
        slot.costs.map(|costs| json!({"memory_kib": costs.memory_kib, "passes": costs.passes, "lanes": costs.lanes}));
    json!({"slot": slot.id, "kind": slot.kind, "label": slot.label, "argon2id": costs})
}

/// How many keys lie in the store in which form.
struct Counts {
    sealed: usize,
    retired: usize,
    plain: usize,
    unreadable: usize,
    no_keys: usize,
}

impl Counts {
    fn of(survey: &Survey) -> Self {
        Self {
            sealed: survey.count(|form| *form == Form::Sealed),
            retired: survey.count(|form| *form == Form::Retired),
            plain: survey.count(|form| *form == Form::Plain),
            unreadable: survey.count(|form| matches!(form, Form::Unreadable(_))),
            no_keys: survey.count(|form| *form == Form::NoKey),
        }
    }

    fn text(&self) -> String {
        let parts = [
            (self.sealed, "sealed"),
            (self.retired, "under a root key of before"),
            (self.plain, "not sealed"),
            (self.unreadable, "unreadable"),
            (self.no_keys, "no keys"),
        ];
        let parts: Vec<_> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }

    fn document(&self) -> Value {
        json!({
            "sealed": self.sealed,
            "retired_root": self.retired,
            "plain": self.plain,
            "unreadable": self.unreadable,
            "no_keys": self.no_keys,
        })
    }
}

/// How many keys are not sealed yet, as a hint behind other commands.
pub(super) async fn plain_keys(unlocked: &Unlocked, place: &Place) -> Result<usize, Failure> {
    let survey = unlocked.survey().await.map_err(|error| place.failed(error))?;
    Ok(survey.count(|form| *form == Form::Plain))
}
