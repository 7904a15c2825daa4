//! The HTTP service in process, over loopback sockets, with a store in memory that can be told to misbehave.
//!
//! Each case asserts what a client, an operator or a monitoring system would notice.

#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod access;
mod audit;
mod changes;
mod engine;
mod faults;
mod http1;
mod http2;
mod identity;
mod limits;
mod lists;
mod metrics;
mod probe;
mod proxy;
mod reload;
mod request_id;
mod streams;
mod support;
