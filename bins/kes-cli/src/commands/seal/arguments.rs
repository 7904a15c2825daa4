//! The arguments of `kes seal`, `kes backup` and `kes restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Seal {
    #[command(subcommand)]
    pub(crate) command: SealCommand,
    #[command(flatten)]
    pub(crate) access: Access,
}

/// Which store, and what opens it.
#[derive(Debug, Args)]
pub(crate) struct Access {
    /// The server's configuration file, which names the store and its sealing keys [env: KES_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Store")]
    pub(crate) config: Option<PathBuf>,
    /// Open with the recovery key, beside what the configuration names; `-`, `@FILE`, `env:NAME`, or nothing to be asked
    #[arg(long, global = true, value_name = "SOURCE", num_args = 0..=1, default_missing_value = "", help_heading = "Store")]
    pub(crate) recovery_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SealCommand {
    /// Show slots, and how many keys are sealed
    #[command(after_help = STATUS)]
    Status,
    /// Seal a store by the keys that its configuration names, and by a new recovery key
    #[command(after_help = INIT)]
    Init(Init),
    /// Add a slot
    #[command(after_help = ADD)]
    Add(Add),
    /// Remove a slot: its key opens the store no more
    #[command(after_help = RM)]
    Rm(Slot),
    /// Change what opens a slot
    #[command(after_help = CHANGE)]
    Change(Change),
    /// Seal all keys that are not sealed yet, and the store if it is not; each is verified, and kept aside until `finish`
    #[command(after_help = MIGRATE)]
    Migrate(Migrate),
    /// End a migration for good: remove what was kept aside, take sealed keys only
    #[command(after_help = FINISH)]
    Finish,
    /// Store all keys as MinIO KES does again, and remove the seal
    #[command(after_help = UNDO)]
    Undo,
    /// Make a new root key and re-seal every key under it
    #[command(after_help = ROTATE)]
    Rotate(Rotate),
    /// Open a store with its recovery key, and give it the sealing keys that the configuration names now
    #[command(after_help = RECOVER)]
    Recover(Recover),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Make no recovery key
    #[arg(long)]
    pub(crate) no_recovery: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Slot {
    /// Number of the slot, from `kes seal status`
    pub(crate) slot: u32,
}

/// What is to open a slot. Sources: `-` is standard input, `@FILE` a file, `env:NAME` a variable.
#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// A passphrase; without a source it is asked for twice
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, default_missing_value = "", group = "new_key")]
    pub(crate) passphrase: Option<String>,
    /// 32 random bytes, as they are, in base64 or in hex
    #[arg(long, value_name = "SOURCE", group = "new_key")]
    pub(crate) key: Option<String>,
    /// A new recovery key, shown once
    #[arg(long, group = "new_key")]
    pub(crate) recovery: bool,
    /// What to call the slot [default: the source]
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Memory that a try of the passphrase costs, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) memory: u32,
    /// Passes over that memory
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) passes: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    pub(crate) key: NewKey,
    /// The keys that the configuration names and that open no slot yet
    #[arg(long, group = "new_key")]
    pub(crate) configured: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Number of the slot, from `kes seal status`
    pub(crate) slot: u32,
    #[command(flatten)]
    pub(crate) key: NewKey,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// In a store that takes sealed keys only: seal others as well. Whoever can write to the store may have made them
    #[arg(long)]
    pub(crate) accept_plain: bool,
    /// If the store is not sealed yet: make no recovery key
    #[arg(long)]
    pub(crate) no_recovery: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Passphrase of a slot that the configuration does not have; repeatable. `-`, `@FILE` or `env:NAME`
    #[arg(long, value_name = "SOURCE")]
    pub(crate) passphrase: Vec<String>,
    /// Key of a slot that the configuration does not have; repeatable. `-`, `@FILE` or `env:NAME`
    #[arg(long, value_name = "SOURCE")]
    pub(crate) key: Vec<String>,
    /// Drop a slot whose key is not at hand; repeatable
    #[arg(long, value_name = "SLOT")]
    pub(crate) drop: Vec<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// Remove all slots but the recovery key's and those of the keys that the configuration names
    #[arg(long)]
    pub(crate) drop_others: bool,
}

#[derive(Debug, Args)]
#[command(after_help = BACKUP_EXAMPLES)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) access: Access,
    /// Write the backup here (short: -o); a file that is there already is not overwritten; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<String>,
    /// Read the file again and hold it against the store
    #[arg(long)]
    pub(crate) verify: bool,
    /// Read and open every key, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave out keys that cannot be read, and say so; else nothing is written
    #[arg(long)]
    pub(crate) skip_unreadable: bool,
    /// For a store that is not sealed: the passphrase of the backup. `-`, `@FILE`, `env:NAME`, or nothing to be asked
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) passphrase: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) access: Access,
    /// The backup; `-` is standard input
    pub(crate) file: Option<String>,
    /// Verify the backup and hold it against the store; write nothing
    #[arg(long)]
    pub(crate) verify: bool,
    /// Show what would be done; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Store keys of a sealed store in one that is not sealed
    #[arg(long)]
    pub(crate) unsealed: bool,
    /// Passphrase of the backup, if the configuration does not have it. `-`, `@FILE`, `env:NAME`, or nothing to be asked
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) passphrase: Option<String>,
    /// Key of the backup, if the configuration does not have it. `-`, `@FILE` or `env:NAME`
    #[arg(long, value_name = "SOURCE")]
    pub(crate) key: Option<String>,
}

const EXAMPLES: &str = "Examples:
  kes seal init --config config.yml                          seal a new store; shows the recovery key once
  kes seal migrate --config config.yml                       seal an old directory and its keys
  kes seal finish --config config.yml                        remove what was kept aside
  kes seal add --passphrase @new.txt --config config.yml     one more slot
  kes seal recover --recovery-key @paper --config config.yml";

const BACKUP_EXAMPLES: &str = "Examples:
  kes backup --config config.yml -o kes.backup
  kes backup --config config.yml -o kes.backup --verify";

const RESTORE_EXAMPLES: &str = "Examples:
  kes restore --config config.yml --dry-run kes.backup
  kes restore --config config.yml kes.backup
  kes restore --config config.yml --recovery-key @paper kes.backup";

const STATUS: &str = "Examples:
  kes seal status --config config.yml
  kes seal status --config config.yml --json | jq .slots";

const INIT: &str = "Examples:
  kes seal init --config config.yml                          shows the recovery key once
  kes seal init --config config.yml --no-recovery";

const ADD: &str = "Examples:
  kes seal add --config config.yml --passphrase              asks for it twice
  kes seal add --config config.yml --key @new.key --label office
  kes seal add --config config.yml --recovery                shows the new recovery key once
  kes seal add --config config.yml --configured";

const RM: &str = "Never removes the last slot.

Examples:
  kes seal rm --config config.yml 2";

const CHANGE: &str = "No key is touched: only what opens the store.

Examples:
  kes seal change --config config.yml 1 --passphrase @new.txt
  kes seal change --config config.yml 2 --recovery           shows the new recovery key once";

const MIGRATE: &str = "Servers with this seal may run meanwhile. Interrupted, the same command goes on.

Examples:
  kes seal migrate --config config.yml
  kes seal status --config config.yml                        how many are left";

const FINISH: &str = "`kes seal undo` works before and after.

Examples:
  kes seal finish --config config.yml";

const UNDO: &str = "Stop the servers before, and remove `keystore.seal` from their configuration after.

Examples:
  kes seal undo --config config.yml";

const ROTATE: &str = "Who has had a slot's key and a copy of the store opens nothing new with them.

Examples:
  kes seal rotate --config config.yml
  kes seal rotate --config config.yml --passphrase @other.txt --recovery-key @paper
  kes seal rotate --config config.yml --drop 3               leave slot 3 behind";

const RECOVER: &str = "First write the new sealing key into the configuration.

Examples:
  kes seal recover --config config.yml                       asks for the recovery key
  kes seal recover --config config.yml --recovery-key @paper --drop-others";
