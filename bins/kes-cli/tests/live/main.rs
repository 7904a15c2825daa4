//! Commands that go on for a while: `kes migrate`, `kes metric` and `kes log`, against our real server and in real
//! folders, in pipes and on a pseudo-terminal. They are killed, interrupted, resized and left alone by their server.
//!
//! Nothing here waits for time to pass: a test waits for what must be shown, and fails if it is not within a minute.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

mod bench;
mod log;
mod metric;
mod migrate;
mod old;
mod terminal;
