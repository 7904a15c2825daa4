//! Single flight: one fetch of a name at a time, shared by all who wait for it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kes_crypto::KeyVersion;
use tokio::sync::watch;

use super::Shared;
use super::entries::Lookup;
use crate::{Error, KeyName, Operation};

/// What a fetch yields.
pub(super) type Outcome = Result<Arc<KeyVersion>, Error>;

type Sender = watch::Sender<Option<Outcome>>;
pub(super) type Receiver = watch::Receiver<Option<Outcome>>;

/// The fetches under way. Only one that stands here may change the cache: a delete or create takes it out, and what it
/// brings then goes to those who were already waiting and to nobody else.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<KeyName, Arc<Sender>>>);

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<KeyName, Arc<Sender>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a fetch. Dropping the receiver is giving up.
pub(super) async fn wait(mut receiver: Receiver) -> Outcome {
    match receiver.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().expect("waited for"),
        Err(_) => Err(Error::Failed {
            entry: "fetch".to_owned(),
            operation: Operation::Get,
            remedy: "it was stopped by a panic or the server's shutdown",
            source: None,
        }),
    }
}

/// How a reader gets at a key that was not cached.
pub(super) enum Joined {
    /// A fetch has ended just now.
    Landed(Arc<KeyVersion>),
    /// It takes part in a fetch.
    Flying(Receiver),
}

impl Shared {
    /// Joins the fetch of a name that is under way, or starts one if there is still nothing to be served.
    pub(super) fn join(self: &Arc<Self>, name: &KeyName) -> Joined {
        let flights = self.flights.lock();
        if let Some(flight) = flights.get(name) {
            return Joined::Flying(flight.subscribe());
        }
        // Nothing lands while we hold the lock.
        match self.entries.lookup(name.as_str(), self.now(), &self.rules) {
            Lookup::Fresh(key) => Joined::Landed(key),
            _ => Joined::Flying(self.launch(flights, name)),
        }
    }

    /// Joins the fetch of a name that is under way, or starts one.
    pub(super) fn fetch_again(self: &Arc<Self>, name: &KeyName) -> Receiver {
        let flights = self.flights.lock();
        match flights.get(name) {
            Some(flight) => flight.subscribe(),
            None => self.launch(flights, name),
        }
    }

    fn launch(
        self: &Arc<Self>,
        mut flights: MutexGuard<'_, HashMap<KeyName, Arc<Sender>>>,
        name: &KeyName,
    ) -> Receiver {
        let (sender, receiver) = watch::channel(None);
        let flight = Arc::new(sender);
        flights.insert(name.clone(), flight.clone());
        let landing = Landing { shared: self.clone(), name: name.clone(), flight };
        self.runtime.spawn(landing.fly());
        receiver
    }

    /// Drops what is cached of a name and disowns a fetch under way.
    pub(super) fn forget(&self, name: &KeyName) {
        let mut flights = self.flights.lock();
        flights.remove(name);
        self.entries.remove(name);
    }
}

/// A fetch under way. Dropping it, also by a panic in the store, ends it.
struct Landing {
    shared: Arc<Shared>,
    name: KeyName,
    flight: Arc<Sender>,
}

impl Landing {
    async fn fly(self) {
        let mut fetch = pin!(self.shared.fetch(&self.name));
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut fetch => break outcome,
                () = self.flight.closed() => if self.is_abandoned() { return },
            }
        };
        self.land(&outcome);
        self.flight.send_replace(Some(outcome));
    }

    /// Whether nobody waits; if so, nobody can join any more either.
    fn is_abandoned(&self) -> bool {
        let mut flights = self.shared.flights.lock();
        let abandoned = self.flight.receiver_count() == 0;
        if abandoned && self.is_current(&flights) {
            flights.remove(&self.name);
        }
        abandoned
    }

    /// Brings the outcome into the cache, unless it was disowned.
    fn land(&self, outcome: &Outcome) {
        let mut flights = self.shared.flights.lock();
        if !self.is_current(&flights) {
            return;
        }
        flights.remove(&self.name);
        match outcome {
            Ok(key) => self.shared.entries.insert(&self.name, key, self.shared.now()),
            Err(Error::NotFound) => self.shared.entries.remove(&self.name),
            Err(_) => {}
        }
        drop(flights);
        self.shared.entries.shrink(self.shared.settings.max_keys);
    }

    fn is_current(&self, flights: &HashMap<KeyName, Arc<Sender>>) -> bool {
        flights.get(&self.name).is_some_and(|current| Arc::ptr_eq(current, &self.flight))
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.shared.flights.lock();
        if self.is_current(&flights) {
            flights.remove(&self.name);
        }
    }
}
