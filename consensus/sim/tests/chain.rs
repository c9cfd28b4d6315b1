//! The ledger alone: what validators measure is paid for, and every way to cheat that [`Conduct`] has shows in the chain.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{FinalEpoch, Rows};
use lucid_consensus::ledger::table::Draws;
use lucid_consensus::rules::Rules;
use lucid_sim::chain::{Chain, Conduct};
use lucid_sim::genesis::{network, signing_key, start, validator_key, worker_id};
use lucid_types::bls::BlsSignature;
use lucid_types::id::{NetworkId, PoolId};
use lucid_types::log_scale::LogScale;
use lucid_types::payout::AccountKind;
use lucid_types::report::{Observation, ScoreReport};
use lucid_types::time::{Epoch, Height};
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;

/// All four find all workers well. What one of them does beside is up to the test.
#[derive(Default)]
struct Measured {
    withholds: Option<usize>,
    censors: Option<usize>,
    passes: Option<usize>,
    contributes: bool,
    turns: Vec<usize>,
}

impl Conduct for Measured {
    fn report(&mut self, chain: &Chain, epoch: Epoch, validator: usize) -> Option<ScoreReport> {
        let draw = chain.state().get::<Draws>(&epoch)?;
        let id = signing_key(validator).id();
        let seen = Observation {
            pings_sent: 4,
            pings_answered: 4,
            rtt_us: LogScale::encode(900),
            echo_kbit_s: Some(LogScale::encode(80_000)),
            group: None,
        };
        let assigned: Vec<_> = draw.assignment(&id)?.map(|(worker, _)| (worker.assigned(), Some(seen))).collect();
        let stored: Vec<_> = draw.storage_assignment(&id)?.map(|(worker, _)| Some(worker.quota)).collect();
        Some(ScoreReport::new(epoch, &assigned, &stored))
    }

    fn reveal(
        &mut self,
        validator: usize,
        committed: &ScoreReport,
        others: &BTreeMap<usize, ScoreReport>,
    ) -> Option<ScoreReport> {
        assert!(others.keys().all(|other| *other < validator), "they reveal one after the other");
        (self.withholds != Some(validator)).then(|| committed.clone())
    }

    fn includes(&mut self, proposer: usize, validator: usize) -> bool {
        self.censors != Some(proposer) || validator == proposer
    }

    fn proposes(&mut self, _: &Chain, proposer: usize, _: &ValidatorKey) -> bool {
        self.turns.push(proposer);
        self.passes != Some(proposer)
    }

    fn contribution(&mut self, chain: &Chain, _: usize, key: &ValidatorKey) -> Option<BlsSignature> {
        self.contributes.then(|| key.bls_key().sign_randao(chain.spec().id(), Height::new(7_000)))
    }
}

fn chain(spec: Arc<ChainSpec>) -> Chain {
    let first = start(&spec).state(&spec);
    Chain::new(spec, first, (0..4).map(signing_key).collect())
}

/// Epochs of a network whose windows are one block wide.
fn epochs(n: usize, conduct: &mut Measured) -> (Chain, Vec<FinalEpoch>) {
    let mut chain = chain(network(4, 1));
    let finalised = (0..n).map(|_| chain.epoch(conduct, &[])).collect();
    (chain, finalised)
}

fn hidden(epoch: &FinalEpoch) -> usize {
    epoch.reports.iter().filter(|(_, report)| report.is_none()).count()
}

#[test]
fn honest_validators_and_workers_are_paid() {
    let (chain, finalised) = epochs(4, &mut Measured::default());
    assert!(finalised.iter().all(|epoch| epoch.scores.rows.len() == 3 && hidden(epoch) == 0));
    assert_eq!(finalised.iter().map(|epoch| epoch.scores.epoch.get()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let pool = PoolId::derive(chain.spec().id(), "pool");
    let worker = |i| chain.owed(&pool, AccountKind::Worker, &worker_id(i));
    let validator = |i| chain.owed(&pool, AccountKind::Validator, &validator_key(i).account());
    assert!(worker(0) > 0 && worker(0).abs_diff(worker(1)) <= 2 && worker(1).abs_diff(worker(2)) <= 2);
    assert!((0..4).all(|i| validator(i) > 0));
    assert_eq!(chain.owed(&pool, AccountKind::Validator, &worker_id(0)), 0);
}

#[test]
fn a_reveal_that_is_withheld_is_missing() {
    let (chain, finalised) = epochs(2, &mut Measured { withholds: Some(2), ..Measured::default() });
    assert!(finalised.iter().all(|epoch| hidden(epoch) == 1));
    assert_eq!(chain.state().duty(&validator_key(2).account()).map(|duty| duty.forfeited), Some(2));
}

#[test]
fn what_a_proposer_leaves_out_is_missing_in_its_blocks() {
    let (_, finalised) = epochs(8, &mut Measured { censors: Some(1), ..Measured::default() });
    // Of commitments only its own is there if it has the turn for them, and of reveals if it has it for these.
    let censored = |epoch: &&FinalEpoch| epoch.reports.len() < 4 || hidden(epoch) > 0;
    assert!((1..8).contains(&finalised.iter().filter(censored).count()));
}

#[test]
fn whoever_passes_its_turn_misses_it() {
    let mut conduct = Measured { passes: Some(3), ..Measured::default() };
    let (chain, _) = epochs(4, &mut conduct);
    let asked = conduct.turns.iter().filter(|turn| **turn == 3).count();
    assert!(asked > 0 && conduct.turns.len() > 12, "{:?}", conduct.turns);
    assert!(chain.state().duty(&validator_key(3).account()).is_some_and(|duty| duty.missed_turns > 0));
}

#[derive(Debug)]
struct AnyContribution;

impl Rules for AnyContribution {
    fn is_contribution(&self, _: &NetworkId, _: &Validator, _: Height, _: &BlsSignature) -> bool {
        true
    }
}

#[test]
fn another_contribution_makes_another_beacon_where_the_rules_allow_it() {
    let of = |contributes| {
        let spec = ChainSpec::new(network(4, 1).genesis().clone()).unwrap().with_rules(&AnyContribution);
        let mut chain = chain(Arc::new(spec));
        chain.epoch(&mut Measured { contributes, ..Measured::default() }, &[]);
        chain.state().head().beacon
    };
    assert_ne!(of(true), of(false));
}

/// The ledger refuses the block: a cheat that the rules forbid cannot be simulated by mistake.
#[test]
#[should_panic(expected = "called `Result::unwrap()` on an `Err` value")]
fn another_contribution_is_refused() {
    epochs(1, &mut Measured { contributes: true, ..Measured::default() });
}
