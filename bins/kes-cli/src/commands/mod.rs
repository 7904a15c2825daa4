//! One file for each group of commands.

pub(crate) mod backup;
pub(crate) mod connect_minio;
pub(crate) mod identity;
pub(crate) mod import_static;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod new_identity;
pub(crate) mod seal;
pub(crate) mod status;
pub(crate) mod version;
