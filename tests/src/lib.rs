//! Support of the black-box suites: starts real server binaries and talks to them byte by byte.
//!
//! What it is: a way to build our binaries once ([`Binary`]), to run one of them – or the old Go server – in a folder of its own on a
//! free loopback port ([`Home`], [`Server`]), to make certificates of every kind, good and bad ([`Credential`], [`Recipe`]), and to
//! send requests of every kind, good and bad ([`Connection`] for exact HTTP/1 bytes, [`h2`] for HTTP/2).
//!
//! What it is not: a client. It links nothing of ours, so that a mistake in our own parsers, identities or certificates cannot hide
//! itself by being made on both sides.
//!
//! ```no_run
//! use kes_tests::{Client, Connection, Credential, Home, Kind, Request, Server};
//!
//! let admin = Credential::from_seed(0);
//! let home = Home::new();
//! let server = Server::start(Kind::Ours, &home, &home.config(&format!("admin: {{identity: {}}}", admin.identity())));
//! let mut connection = Connection::open(server.address(), &Client::new(&admin)).expect("the server answers");
//! let answer = connection.exchange(&Request::get("/v1/status")).expect("a response");
//! assert_eq!(answer.status, 200);
//! ```
//!
//! Why so shaped: a test reads as the story of one server's life. Every process is ended by its own id when its [`Server`] is dropped,
//! and every wait is a wait *for* something (a line of output, an exit, an accepted connection) with a bound, never a pause.
//!
//! `KES_UNDER_TEST=PATH` runs the suites against another server binary instead of ours; that is how the expectations themselves were
//! checked against the old server.

mod aws;
mod azure;
mod binary;
mod calls;
mod certificate;
mod client;
mod http1;
mod http2;
mod message;
mod program;
mod server;
mod vault;

pub use aws::Moto;
pub use azure::{KeyVault, Proxy};
pub use binary::{Binary, Kind, checkout, peer};
pub use calls::{admin, ask, create, decrypt, delete, generate, ok};
pub use certificate::{Authority, Credential, Recipe, identity_of};
pub use client::{Client, Fault, Versions};
pub use http1::Connection;
pub use http2::{Http2, h2};
pub use message::{Body, Request, Response};
pub use program::Program;
pub use server::{Home, Server, free_address};
pub use vault::Vault;
