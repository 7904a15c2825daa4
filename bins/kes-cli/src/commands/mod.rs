//! One file for each group of commands.

pub(crate) mod api;
pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod connect_minio;
pub(crate) mod doctor;
pub(crate) mod identity;
pub(crate) mod import_static;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod manual;
pub(crate) mod matrix;
pub(crate) mod metric;
pub(crate) mod migrate;
pub(crate) mod new_identity;
pub(crate) mod policy;
pub(crate) mod policy_change;
pub(crate) mod policy_check;
pub(crate) mod probe;
pub(crate) mod ready;
pub(crate) mod seal;
pub(crate) mod servers;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod version;
pub(crate) mod who;

/// How long a change that came over the network holds.
pub(crate) const EPHEMERAL: &str = "until the server restarts or reads its configuration again";

/// `2025-05-26T22:04:48.635350787Z` as `2025-05-26 22:04:48`: the time as it was sent, without fraction and zone.
pub(crate) fn date(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}
