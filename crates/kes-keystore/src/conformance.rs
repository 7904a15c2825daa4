//! The suite that every store must pass: one small case for each clause of [`KeyStore`].
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each case; it takes an async function that yields a
//! [`Subject`], and attributes for all tests:
//!
//! ```
//! mod real {
//!     use std::sync::Arc;
//!     use kes_keystore::{KeyStore, conformance::Subject, memory};
//!
//!     struct Memory(Arc<memory::Store>);
//!
//!     impl Subject for Memory {
//!         fn store(&self) -> Arc<dyn KeyStore> {
//!             self.0.clone()
//!         }
//!     }
//!
//!     async fn subject() -> Memory {
//!         Memory(Arc::default())
//!     }
//!
//!     kes_keystore::conformance_tests!(#[ignore = "needs VAULT_ADDR"] subject);
//! }
//! ```
//!
//! Where a store [declares](crate::Promises) that it cannot keep a clause, the case checks the weaker one. Errors are
//! compared by meaning: "some error" passes nothing.

mod cases;
mod records;
mod sealed;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::cases::*;
pub use self::sealed::Sealed;
use crate::KeyStore;

/// A store under test. Each test makes its own, which must be empty and independent of all others.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn KeyStore>;

    /// The store as another server sees it: another instance on the same place, where there can be one.
    fn neighbour(&self) -> Arc<dyn KeyStore> {
        self.store()
    }

    /// How many keys are made where many are wanted. Less than 2500, but more than 1024, for one in which that takes minutes.
    fn many(&self) -> usize {
        2500
    }

    /// Takes the service away from under the store; `false` if that cannot be done.
    async fn stop(&self) -> bool {
        false
    }

    /// Brings the service back as it was.
    async fn start(&self) {}
}

/// Runs a case on a runtime of its own.
///
/// # Panics
/// If the case does, or if there can be no runtime.
pub fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the machine can run a test")
        .block_on(case);
}

/// Makes the whole suite tests of the module it stands in: see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! conformance_tests {
    ($(#[$attribute:meta])* $subject:ident) => {
        $crate::__conformance_tests! {
            { $(#[$attribute])* } $subject
            status_answers
            description_and_promises_are_constant
            values_come_back_byte_for_byte
            values_are_opaque_bytes
            values_up_to_the_limit_are_kept
            values_over_the_limit_are_refused
            create_keeps_the_first_value
            get_of_nothing_is_not_found
            delete_of_nothing_is_not_found
            deleted_keys_are_gone_and_can_be_created_again
            concurrent_creates_have_one_winner
            neighbours_see_each_others_keys
            names_of_every_shape_are_kept
            names_that_differ_in_case_differ
            an_empty_store_lists_nothing
            lists_of_every_size_page_without_loss
            list_is_sorted_by_bytes
            list_filters_by_prefix
            list_keeps_prefix_and_start_apart
            list_resumes_at_the_name_left_out
            entries_of_our_own_are_kept_and_never_listed
            values_are_replaced_in_place_if_at_all
            dropped_calls_leave_the_store_usable
            an_outage_is_reported_and_passes
            records_of_every_release_are_read
            records_are_written_as_the_old_server_writes_them
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ({ $(#[$attribute:meta])* } $subject:ident $case:ident) => {
        #[test]
        $(#[$attribute])*
        fn $case() {
            $crate::conformance::run(async {
                $crate::conformance::$case(&$subject().await).await;
            });
        }
    };
    ($attributes:tt $subject:ident $case:ident $($rest:ident)+) => {
        $crate::__conformance_tests!($attributes $subject $case);
        $crate::__conformance_tests!($attributes $subject $($rest)+);
    };
}
