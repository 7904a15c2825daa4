//! Things to copy: each file in `examples/` is one complete program.
//!
//! | example | shows |
//! | --- | --- |
//! | `seal` | a data key in five lines, without a server |
//! | `policy` | policies, and which rule decided |
//! | `keystore` | keys on the disk behind the cache |
//! | `server` | the HTTP service inside another program |
//! | `client` | an application that asks a server |
//!
//! `cargo run -p kes-examples --example seal`
