//! Configuration files and what becomes of them: one module for each section of the format's description, one binary.
#![expect(clippy::unwrap_used, reason = "also the helpers of tests may fail by panicking")]

mod any_input;
mod inspection;
mod modern;
mod new_keys;
mod old_spellings;
mod published;
mod redaction;
mod seal;
mod section1_reading;
mod section3_order;
mod section4_semantics;
mod section7_stores;
mod support;
