//! Keys in memory, for `kes server --dev` and for tests: gone when the process ends.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, InPlace, Kept, KeyName, KeyStore, MAX_VALUE_LEN, Page, Promises, Status, Value};

/// A store in memory. Values are copied in and out.
#[derive(Debug, Default)]
pub struct Store {
    values: RwLock<BTreeMap<KeyName, Value>>,
}

const PROMISES: Promises = Promises { durable: Kept::No("lives and dies with the process"), ..Promises::ALL };

#[async_trait]
impl KeyStore for Store {
    fn describe(&self) -> String {
        "In Memory".to_owned()
    }

    fn promises(&self) -> Promises {
        PROMISES
    }

    /// Always well, in one millisecond, as the old server reports it.
    async fn status(&self) -> Result<Status, Error> {
        Ok(Status { latency: Duration::from_millis(1) })
    }

    async fn create(&self, name: &KeyName, value: &[u8]) -> Result<(), Error> {
        if value.len() > MAX_VALUE_LEN {
            return Err(Error::TooLarge { entry: name.to_string(), len: value.len(), limit: MAX_VALUE_LEN });
        }
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        if values.contains_key(name) {
            return Err(Error::Exists);
        }
        values.insert(name.clone(), Value::new(value.to_vec()));
        Ok(())
    }

    async fn get(&self, name: &KeyName) -> Result<Value, Error> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let value = values.get(name).ok_or(Error::NotFound)?;
        Ok(Value::new(value.expose().to_vec()))
    }

    async fn delete(&self, name: &KeyName) -> Result<(), Error> {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        values.remove(name).map(drop).ok_or(Error::NotFound)
    }

    async fn list(&self, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page, Error> {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        // The names with the prefix stand together, so the walk ends with them.
        let start = from.unwrap_or("").max(prefix);
        let mut names = values
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .map(|(name, _)| name)
            .take_while(|name| name.as_str().starts_with(prefix))
            .filter(|name| KeyName::is_valid(name.as_str()))
            .cloned();
        Ok(Page { names: names.by_ref().take(limit).collect(), next: names.next() })
    }

    fn in_place(&self) -> Option<&dyn InPlace> {
        Some(self)
    }
}

#[async_trait]
impl InPlace for Store {
    async fn replace(&self, name: &KeyName, old: &[u8], new: &[u8]) -> Result<(), Error> {
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        match values.get_mut(name) {
            None => Err(Error::NotFound),
            Some(value) if value.expose() != old => Err(Error::Exists),
            Some(value) => {
                *value = Value::new(new.to_vec());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance::Subject;

    struct Memory(Arc<Store>);

    impl Subject for Memory {
        fn store(&self) -> Arc<dyn KeyStore> {
            self.0.clone()
        }
    }

    async fn memory() -> Memory {
        Memory(Arc::default())
    }

    crate::conformance_tests!(memory);

    #[tokio::test]
    async fn says_what_it_is() {
        let store = Store::default();
        assert_eq!(store.describe(), "In Memory");
        assert!(!store.promises().durable.is_kept());
        assert_eq!(store.status().await.unwrap().latency, Duration::from_millis(1));
    }
}
