//! A running server and its clients.

mod client;
mod rig;
mod store;

pub(crate) use client::{Answer, Client, Payload, Raw, percent_encode};
pub(crate) use rig::{Policies, Rig, role};
pub(crate) use store::{Mood, Scripted};

use std::time::Duration;

/// Longest wait for something that must happen. Nothing waits that long in a run that passes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}
