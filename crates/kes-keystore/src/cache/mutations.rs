//! Calls that change the store, detached from whoever asked for them.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Cache, Shared};
use crate::{Error, Operation};

/// The changes under way.
#[derive(Default)]
pub(super) struct Mutations(watch::Sender<usize>);

impl Mutations {
    pub(super) async fn settled(&self) {
        let mut count = self.0.subscribe();
        count.wait_for(|count| *count == 0).await.expect("the sender is ours");
    }
}

/// One change under way.
struct Underway(Arc<Shared>);

impl Underway {
    fn new(shared: Arc<Shared>) -> Self {
        shared.mutations.0.send_modify(|count| *count += 1);
        Self(shared)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.mutations.0.send_modify(|count| *count -= 1);
    }
}

impl Cache {
    /// Runs `work` as a task of its own; a caller that stops waiting does not stop it. A panic in it is the caller's.
    pub(super) async fn detached<W>(
        &self,
        operation: Operation,
        work: impl FnOnce(Arc<Shared>) -> W,
    ) -> Result<(), Error>
    where
        W: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let underway = Underway::new(self.shared.clone());
        let work = work(self.shared.clone());
        let task = self.shared.runtime.spawn(async move {
            let _underway = underway;
            work.await
        });
        match task.await {
            Ok(result) => result,
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(stopped) => Err(Error::Failed {
                entry: self.shared.calls.store.describe(),
                operation,
                remedy: "the server is shutting down",
                source: Some(Arc::new(stopped)),
            }),
        }
    }
}
