//! The payout vault (`tron-bridge/contracts/PayoutVault.sol`) on the local TRON network's chain, without processes or HTTP:
//! what docs/src/payout-vault.md promises, function by function and attack by attack.
//!
//! A check takes the vault's code, so that each also runs on broken variants of the vault ([`variants`]), which it must
//! catch. [`random`] runs random histories against a model, [`energy`] measures what calls cost.

mod abi;
pub(crate) mod code;
mod energy;
mod fees;
mod payments;
mod plain;
mod random;
mod roots;
mod rotation;
mod signatures;
mod snapshot;
mod stops;
mod succession;
mod theft;
mod tokens;
mod tree;
mod variants;
mod vectors;
mod world;

use code::Code;

/// Makes a test of each check, and a list of all.
macro_rules! checks {
    ($($module:ident: $($check:ident),+;)+) => {
        /// Every check by its name.
        const CHECKS: &[(&str, fn(&Code))] =
            &[$($((concat!(stringify!($module), "::", stringify!($check)), $module::$check)),+),+];

        /// The checks on the vault itself.
        mod genuine {
            $(mod $module {
                $(#[test]
                fn $check() {
                    super::super::$module::$check(&super::super::Code::genuine());
                })+
            })+
        }
    };
}

checks! {
    plain: a_root_is_pushed, pays_the_difference_once, claims_pay_like_pushes, pays_every_range_of_every_tree;
    roots: a_root_is_posted, an_empty_root_is_refused, without_a_root_nothing_is_paid, a_newer_root_replaces_the_older,
        the_same_root_may_be_posted_again, a_pause_does_not_stop_posting;
    signatures: digests_are_the_specified_ones, exactly_k_in_order, have_one_form, sign_every_field,
        are_good_for_one_vault, are_good_for_one_purpose, of_an_earlier_era_are_void;
    payments: a_range_needs_its_proof, a_claim_needs_its_proof, the_same_item_twice_is_paid_once,
        the_total_bounds_payments, the_cap_bounds_a_period, two_periods_meet, the_funds_bound_payments,
        recipients_that_cannot_use_it_are_skipped, an_owed_total_never_counts_down;
    fees: only_the_leader_earns_them_in_its_turn, end_with_the_allowance, a_partial_payment_earns_none,
        count_in_total_cap_and_funds, payments_stand_without_them, a_claim_earns_one;
    tokens: what_transfer_returns_does_not_matter, a_token_that_lies_stops_the_batch, a_refused_recipient_is_skipped,
        lack_of_energy_is_no_refusal, no_energy_limit_makes_a_skip, a_fee_is_the_recipients, a_stopped_token_is_waited_for,
        nothing_is_open_to_a_token_that_calls_back;
    stops: only_the_owner, the_owner_pauses_after_notice, a_signer_pauses_once_for_72_hours, k_signers_pause_for_good,
        k_signers_or_the_owner_end_a_pause, closing_leaves_time_to_claim, a_closed_vault_does_nothing_more,
        a_withdrawal_leaves_time_to_claim, a_withdrawal_is_exact, no_notice_runs_behind_a_pause;
    rotation: begins_a_new_era, needs_a_majority_of_distinct_signers, keeps_a_pause, limits_are_set_once,
        a_vault_needs_its_parts;
    succession: goes_on_where_the_predecessor_ended, goes_through_several_vaults,
        needs_a_closed_predecessor_of_the_same_token;
    snapshot: says_what_the_single_views_say, knows_what_predecessors_paid;
    theft: is_bounded_and_made_good;
}
