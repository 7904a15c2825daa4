//! What can be found out at the start rather than at the first request that fails.

use kes_keystore::Error;

use crate::store::Store;

pub(crate) async fn secrets_manager(_: &Store) -> Result<Vec<String>, Error> {
    Ok(Vec::new())
}
