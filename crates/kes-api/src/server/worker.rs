//! The threads: one single-threaded runtime each, the first one also accepts.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use super::accept::{accept, converse};
use super::shared::{Shared, Worker};

/// Starts all workers; each receiver fires when its worker has drained.
pub(super) fn start(shared: &Arc<Shared>, listener: TcpListener) -> io::Result<Vec<oneshot::Receiver<()>>> {
    let mut finished = Vec::new();
    let mut senders = Vec::new();
    for worker in &shared.workers[1..] {
        let (sender, sockets) = unbounded_channel();
        senders.push(sender);
        let (shared, worker) = (Arc::clone(shared), Arc::clone(worker));
        let runtime = runtime(&worker)?;
        finished.push(spawn(worker.index, runtime, move || async move { serve(shared, worker, sockets).await })?);
    }
    let (shared, worker) = (Arc::clone(shared), Arc::clone(&shared.workers[0]));
    let runtime = runtime(&worker)?;
    finished.push(spawn(0, runtime, move || async move {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => accept(listener, Arc::clone(&shared), Arc::clone(&worker), senders).await,
            Err(error) => shared.log.write(super::Level::Error, "cannot listen", &[("error", &error)]),
        }
        drain(&shared, &worker).await;
    })?);
    Ok(finished)
}

fn runtime(worker: &Worker) -> io::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let is_new = worker.runtime.set(runtime.handle().clone()).is_ok();
    debug_assert!(is_new, "a worker is started once");
    Ok(runtime)
}

fn spawn<F>(
    index: usize,
    runtime: Runtime,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<oneshot::Receiver<()>>
where
    F: Future<Output = ()>,
{
    let (done, finished) = oneshot::channel();
    std::thread::Builder::new().name(format!("kes-{index}")).spawn(move || {
        runtime.block_on(work());
        // Requests that outlived the drain end here, and are recorded before anybody may close the logs.
        drop(runtime);
        let _ = done.send(());
    })?;
    Ok(finished)
}

async fn serve(shared: Arc<Shared>, worker: Arc<Worker>, mut sockets: UnboundedReceiver<std::net::TcpStream>) {
    // The channel ends when the acceptor does.
    while let Some(socket) = sockets.recv().await {
        match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => drop(tokio::spawn(converse(socket, Arc::clone(&shared), Arc::clone(&worker)))),
            Err(_) => drop(worker.load.fetch_sub(1, Ordering::Relaxed)),
        }
    }
    drain(&shared, &worker).await;
}

/// Waits for connections to end, as long as the limits allow, and for changes to the store that this worker began.
async fn drain(shared: &Shared, worker: &Worker) {
    let connections = async {
        loop {
            let idle = worker.idle.notified();
            if worker.load.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    };
    let _ = tokio::time::timeout(shared.limits().drain, connections).await;
    let mut detached = shared.detached.subscribe();
    let _ = tokio::time::timeout(super::DETACHED, detached.wait_for(|count| *count == 0)).await;
}
