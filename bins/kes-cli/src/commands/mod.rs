//! One file for each group of commands.

pub(crate) mod doctor;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod new_identity;
pub(crate) mod probe;
pub(crate) mod status;
pub(crate) mod version;
