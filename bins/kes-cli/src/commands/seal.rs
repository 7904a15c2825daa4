//! `kes seal`: slots of a sealed store, and keys into the seal and out of it.
//!
//! These commands work on the store itself, without a server: on what `keystore` of a configuration file names. A
//! recovery key is shown before the slot is made that it opens, so that none is made whose key nobody has seen.

pub(crate) mod access;
pub(crate) mod arguments;
mod entries;
mod slots;
mod status;

use kes_keystore::sealed::RecoveryKey;
use zeroize::Zeroizing;

use self::access::Place;
use self::arguments::{Seal, SealCommand};
use crate::args::Format;
use crate::failure::Outcome;
use crate::offline;
use crate::output::{self, Output};

pub(crate) fn run(output: &Output, seal: &Seal) -> Outcome {
    let name = match &seal.command {
        SealCommand::Status => "status",
        SealCommand::Init(_) => "init",
        SealCommand::Add(_) => "add",
        SealCommand::Rm(_) => "rm",
        SealCommand::Change(_) => "change",
        SealCommand::Migrate(_) => "migrate",
        SealCommand::Finish => "finish",
        SealCommand::Undo => "undo",
        SealCommand::Rotate(_) => "rotate",
        SealCommand::Recover(_) => "recover",
    };
    let place = Place::find(&seal.access, &format!("kes seal {name}"))?;
    // What is asked for is asked before anything else, as everywhere.
    match &seal.command {
        SealCommand::Status => offline(status::run(place, output)),
        SealCommand::Init(init) => offline(slots::init(place, output, init)),
        SealCommand::Add(add) if add.configured => offline(slots::add_configured(place, output)),
        SealCommand::Add(add) => {
            let new = access::new_slot(&add.key, "kes seal add")?;
            offline(slots::add(place, output, new))
        }
        SealCommand::Rm(slot) => offline(slots::remove(place, output, slot.slot)),
        SealCommand::Change(change) => {
            let new = access::new_slot(&change.key, "kes seal change")?;
            offline(slots::change(place, output, change.slot, new))
        }
        SealCommand::Migrate(migrate) => offline(entries::migrate(place, output, migrate)),
        SealCommand::Finish => offline(entries::finish(place, output)),
        SealCommand::Undo => offline(entries::undo(place, output)),
        SealCommand::Rotate(rotate) => {
            let keys = rotate.passphrase.iter().map(|source| access::passphrase(source));
            let keys = keys.chain(rotate.key.iter().map(|source| access::key(source))).collect::<Outcome<_>>()?;
            offline(entries::rotate(place, output, keys, &rotate.drop))
        }
        SealCommand::Recover(recover) => {
            let asked = seal.access.recovery_key.is_none();
            let place = if asked { Place::find(&with_prompt(&seal.access), "kes seal recover")? } else { place };
            offline(slots::recover(place, output, recover.drop_others))
        }
    }
}

fn with_prompt(access: &arguments::Access) -> arguments::Access {
    arguments::Access { config: access.config.clone(), recovery_key: Some(String::new()) }
}

/// Shows a recovery key, the one time. In a document it stands with the result instead.
fn show(output: &Output, key: &RecoveryKey) -> Outcome {
    if output.format() != Format::Text {
        return Ok(());
    }
    let text = key.to_text();
    let bold = Zeroizing::new(output.bold(&text));
    let text = Zeroizing::new(format!(
        "Recovery key, shown this once. It opens the store when everything else is lost:\n\
         write it down, and keep it away from the store.\n\n    {}\n\n",
        *bold
    ));
    output::print(text.as_bytes())
}

/// A document without secrets, or the text.
fn tell(output: &Output, document: &serde_json::Value, text: &str) -> Outcome {
    output::print(output.document(document)?.unwrap_or_else(|| text.to_owned()))
}
