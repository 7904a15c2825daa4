//! Things to copy: each file in `examples/` is one complete program.
//!
//! `cargo run -p kes-examples --example seal`
