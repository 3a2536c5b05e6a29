//! The conformance suite: what every adapter must pass, one line per adapter, no skips.
//!
//! ```ignore
//! hakiri_catalog::catalog_conformance!(my_adapter, MySetup::new());
//! ```
//!
//! makes one test per case, named `my_adapter::<id>::<case>`, where the id is the clause of the contract (C1–C10). The
//! same cases are in [`CASES`] as plain functions, so that a test can run them against an adapter that is broken on
//! purpose ([`broken`]) and see them fail. [`model`] compares an adapter with `memory` under random operations.
//!
//! C8 (an unknown outcome) cannot be provoked from outside; it has unit tests beside `RecordCatalog`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // test code that other crates' tests use; cases say what they test by name

pub mod broken;
pub mod c1;
pub mod c10;
pub mod c2;
pub mod c3;
pub mod c4;
pub mod c4_control;
pub mod c4_state;
pub mod c5;
pub mod c6;
pub mod c7;
pub mod c9;
pub mod fixture;
pub mod model;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use hakiri_core::catalog::Catalog;
use hakiri_core::time::{Clock, Instant};

/// Makes catalogs to test.
#[async_trait]
pub trait Setup: Send + Sync {
    /// A new, empty catalog.
    async fn bench(&self) -> Bench;
}

/// A catalog under test.
pub struct Bench {
    /// A client of it.
    pub catalog: Arc<dyn Catalog>,
    /// Another client of the same catalog, as from another process.
    pub reopen: Box<dyn Fn() -> Arc<dyn Catalog> + Send + Sync>,
    /// Its clock.
    pub time: Arc<dyn Time>,
    /// Whatever must live as long: a temporary folder, a server.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

/// The backend's clock as far as a test may move it.
#[async_trait]
pub trait Time: Send + Sync {
    /// Lets some milliseconds pass: at once where the clock can be set, really elsewhere.
    async fn pass(&self, millis: i64);
    /// How long a lease must last for a test that lets it expire: short where time is real.
    fn ttl_ms(&self) -> i64 {
        60_000
    }
    /// Stops it where a new [`ManualClock`] stands, for a test that compares answers with instants in them. From then on
    /// it moves by [`Self::pass`] only. Nothing to do for one that always does.
    async fn stand_still(&self) {}
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_800_000_000_000))
    }
}

impl ManualClock {
    /// Moves it.
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Time for ManualClock {
    async fn pass(&self, millis: i64) {
        self.advance(millis);
    }
}

/// A case, to be run by hand.
#[derive(Clone, Copy)]
pub struct Case {
    /// The clause, in lower case.
    pub id: &'static str,
    /// What it tests.
    pub name: &'static str,
    /// Panics when the adapter fails it.
    pub run: for<'a> fn(&'a dyn Setup) -> CaseRun<'a>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.id, self.name)
    }
}

/// All cases.
pub const CASES: &[Case] = crate::__catalog_cases!(__catalog_table, []);

/// Makes a test of every case for an adapter: a name for the module, and an expression that gives a
/// [`Setup`](conformance::Setup).
#[macro_export]
macro_rules! catalog_conformance {
    ($name:ident, $setup:expr) => {
        $crate::__catalog_cases!(__catalog_tests, [$name($setup)]);
    };
}

/// The list of cases, in one place.
#[doc(hidden)]
#[macro_export]
macro_rules! __catalog_cases {
    ($then:ident, [$($with:tt)*]) => {
        $crate::$then! { [$($with)*]
            c1 {
                a_read_sees_what_another_client_wrote
                a_listing_sees_what_another_client_wrote
                racing_acquires_have_one_winner
                eight_workers_swap_a_hundred_times_each
                racing_runs_get_dense_numbers
                pipelines_do_not_touch_each_other
            }
            c2 {
                versions_are_kept_in_order
                a_gap_is_refused
                other_columns_under_a_number_are_refused
                going_back_is_refused
                the_same_version_again_is_fine
                a_refused_commit_leaves_no_version
                a_dropped_table_keeps_its_history
                a_renamed_table_goes_on_with_its_number
            }
            c3 {
                the_same_run_keeps_its_epoch
                another_run_waits_for_a_live_lease
                another_run_gets_a_higher_epoch_after_expiry
                an_expired_lease_still_renews
                an_expired_lease_still_commits
                a_stale_epoch_cannot_renew
                a_stale_epoch_cannot_plan
                a_stale_epoch_cannot_claim
                a_stale_epoch_cannot_report
                a_stale_epoch_cannot_commit
                an_epoch_never_given_out_is_refused
                a_release_lets_another_run_in_at_once
                a_release_ends_the_epoch_for_everyone
                an_unfinished_run_takes_its_lease_up_again
                a_renewal_never_shortens
                expiry_is_by_the_catalogs_clock
                an_ended_run_gets_no_lease
                renewing_for_an_ended_run_changes_nothing
            }
            c4 {
                everything_changes_together
                another_head_is_a_conflict
                a_refused_commit_changes_nothing
                tables_left_out_stay_as_they_are
                a_run_without_success_ends_without_a_number
                a_commit_releases_the_lease
                a_run_without_a_plan_cannot_commit
                the_tick_of_a_scheduled_run_counts
                a_new_generation_is_counted
                files_left_behind_are_remembered
                a_table_cannot_be_committed_twice_in_one
                a_plan_for_another_head_is_refused
                a_plan_for_another_generation_is_refused
            }
            c4_control {
                a_pause_needs_no_lease_and_leaves_the_run_alone
                a_repeated_pause_keeps_its_time
                resuming_clears_the_pause
                a_cancelled_run_is_fenced_and_commits_nothing
                a_cancelled_run_ends_for_ever
                cancelling_again_answers_with_the_first
                only_the_unfinished_run_can_be_cancelled
                the_tick_of_a_cancelled_scheduled_run_is_done
                racing_cancel_and_commit_have_one_winner
                controls_are_audited
            }
            c4_state {
                a_snapshot_needs_no_lease
                a_snapshot_of_another_one_is_refused
                a_snapshot_of_another_generation_is_refused
                a_snapshot_covers_nothing_to_come
                a_replaced_snapshot_is_left_behind
                a_run_keeps_a_snapshot_it_did_not_see
                snapshots_of_a_family_are_named_together
                state_waits_for_a_live_lease
                state_abandons_the_unfinished_run
                state_of_another_head_is_refused
                state_raises_all_numbers_and_is_audited
                state_of_an_empty_pipeline_goes_on_from_the_tables_it_is_given
                only_files_left_behind_are_forgotten
            }
            c5 {
                a_repeated_commit_answers_with_the_first
                a_commit_is_remembered_after_later_runs
                a_repeated_commit_of_a_failed_run_is_remembered
                racing_commits_of_one_run_make_one_number
                a_repeated_snapshot_is_harmless
            }
            c6 {
                the_first_plan_wins
                racing_plans_have_one_winner
                a_plan_brings_pending_steps_and_a_running_record
                another_run_must_wait_for_the_unfinished_one
                a_claim_is_one_workers
                racing_claims_have_one_winner
                a_worker_gets_its_own_claim_again
                an_expired_claim_is_taken_over_and_counted
                cuts_begin_anew_when_an_attempt_says_so_and_not_by_a_heartbeat
                a_late_worker_cannot_report_over_the_next_one
                an_expired_claim_can_still_report
                back_off_is_kept
                a_given_up_claim_is_free
                the_first_result_wins
                a_finished_step_is_never_claimed
                a_failed_step_is_finished
                nobody_reports_without_a_claim
                a_heartbeat_goes_by_the_catalogs_clock
                counters_never_go_back
                an_unknown_step_does_not_exist
                a_step_of_an_ended_run_cannot_be_claimed
            }
            c7 {
                everything_is_there_after_reopening
                a_commit_is_there_for_a_new_client
                an_identity_stays
            }
            c9 {
                an_export_comes_to_memory_and_back
                importing_again_is_harmless
                importing_something_else_is_a_conflict
                a_record_of_another_kind_is_refused
                an_imported_run_goes_on
                an_export_is_in_the_order_of_keys
            }
            c10 {
                a_listing_is_paged
                a_listing_goes_backwards
                a_listing_keeps_to_its_prefix
                ten_thousand_runs_are_listed_in_pages
                a_plan_of_a_mebibyte
                a_step_record_of_a_mebibyte
                a_thousand_steps
                two_hundred_tables_in_one_commit
                names_and_texts_of_any_language
                a_setting_is_created_once
                audit_entries_are_numbered_and_dated
                racing_audit_entries_are_all_kept
                other_kinds_cannot_be_appended
                what_is_not_there_is_none
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __catalog_table {
    ([] $($id:ident { $($case:ident)* })*) => {
        &[$($($crate::conformance::Case {
            id: stringify!($id),
            name: stringify!($case),
            run: |setup| Box::pin($crate::conformance::$id::$case(setup)),
        },)*)*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __catalog_tests {
    ([$name:ident ($setup:expr)] $($id:ident { $($case:ident)* })*) => {
        mod $name {
            #[allow(unused_imports)] // the setup may be given by a full path
            use super::*;
            $(mod $id {
                #[allow(unused_imports)] // as above
                use super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::conformance::$id::$case(&$setup).await;
                })*
            })*
            #[test]
            fn behaves_as_memory_does() {
                $crate::conformance::model::compare(&$setup);
            }
        }
    };
}

/// A case under way; it panics when the adapter fails it.
pub type CaseRun<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
