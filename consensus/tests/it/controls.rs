//! Negative controls: what the monitor demands can fail. Each breaks one rule of [`Rules`], on the product's own code, and lets the same world
//! go its way with the rule and without. With it nothing may be found, without it the invariant that the rule is for.

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::check::InvalidBlock;
use lucid_consensus::ledger::duties::Duty;
use lucid_consensus::ledger::execute::validate;
use lucid_consensus::ledger::state::Rows;
use lucid_consensus::ledger::table::{Draws, PendingEpochs};
use lucid_consensus::replica::Input;
use lucid_consensus::rules::{Judged, Rules, Standard, Verdict};
use lucid_score::aggregate::{Aggregate, Probe, Seen, Stored, aggregate};
use lucid_score::draw::ScoredWorker;
use lucid_types::amount::MicroUsdt;
use lucid_types::bls::BlsSignature;
use lucid_types::change::PolicyChange;
use lucid_types::command::{Action, Command, MaintenanceScope, NodeAction};
use lucid_types::id::{Hash, NetworkId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::policy::{FixedPolicy, Policy};
use lucid_types::pool::PoolAction;
use lucid_types::report::{AssignedWorker, Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::{Proposers, Validator, ValidatorSet};
use lucid_types::vote::{Vote, VoteKind, Wake};

use crate::crashes::effects_of_an_epoch;
use crate::validators::{change, state};
use lucid_sim::genesis::{FAR, genesis, owner_key, policy, signer_key, validator_key, worker_key};
use lucid_sim::liar::{junk, offer, propose, proposer, turn_bad, valid};
use lucid_sim::monitor::Invariant;
use lucid_sim::pool::{by_owner, sign};
use lucid_sim::world::World;

/// Breaks a rule: `broken!(Name: fn method(&self, ...) -> ... { ... })`.
macro_rules! broken {
    ($name:ident: $method:item) => {
        #[derive(Debug)]
        struct $name;

        impl Rules for $name {
            $method
        }
    };
}

fn network(rules: &'static dyn Rules) -> Arc<ChainSpec> {
    network_of(&[1; 4], 4, rules)
}

fn network_of(powers: &[u64], seats: u32, rules: &'static dyn Rules) -> Arc<ChainSpec> {
    Arc::new(ChainSpec::new(genesis(powers, policy(seats))).unwrap().with_rules(rules))
}

/// Seeds that are tried for what a broken rule leads to.
const SEEDS: u64 = 16;

/// What is found in a world.
fn found(spec: Arc<ChainSpec>, seed: u64, scenario: impl Fn(&mut World)) -> (BTreeSet<Invariant>, String) {
    let mut world = World::new(spec, 4, seed);
    world.monitor.is_control = true;
    scenario(&mut world);
    let violations = &world.monitor.violations;
    (violations.iter().map(|violation| violation.of).collect(), format!("{violations:?}"))
}

/// Four validators of equal power.
#[track_caller]
fn control(broken: &'static dyn Rules, expected: &[Invariant], seed: u64, scenario: impl Fn(&mut World)) {
    compare([network(&Standard), network(broken)], expected, seed, scenario);
}

#[track_caller]
fn compare([spec, other]: [Arc<ChainSpec>; 2], expected: &[Invariant], seed: u64, scenario: impl Fn(&mut World)) {
    // Who has its turn when depends on every byte of the genesis, so what one seed does not show another one may.
    let mut missed = Vec::new();
    for seed in seed..seed + SEEDS {
        let (clean, violations) = found(Arc::clone(&spec), seed, &scenario);
        assert!(clean.is_empty(), "with the rule: {violations}");
        let (found, violations) = found(Arc::clone(&other), seed, &scenario);
        if expected.iter().all(|invariant| found.contains(invariant)) {
            return;
        }
        missed.push(violations);
    }
    panic!("{:?} does not break {expected:?}: {missed:?}", other.rules());
}

broken!(QuorumOfAThird: fn quorum(&self) -> (u64, u64) { (1, 3) });

#[test]
fn two_halves_that_decide_alone_are_found() {
    let expected = [Invariant::Agreement, Invariant::Certificate, Invariant::Rejected];
    control(&QuorumOfAThird, &expected, 21, |world| {
        world.run(100, |_| false);
        world.cut(Some(2));
        world.run(15_000, |_| false);
        world.cut(None);
        world.demand(30_000, |w| w.highest() >= 5);
    });
}

broken!(SignsUnsynced: fn syncs_before_signing(&self) -> bool { false });

#[test]
fn a_vote_that_leaves_before_it_is_durable_is_found() {
    control(&SignsUnsynced, &[Invariant::LoggedFirst], 22, |world| {
        world.demand(20_000, |w| w.lowest() >= 3);
    });
    // And what it may lead to: a node that crashes before one of its effects signs something else when it is back.
    let crash = |at: u64| {
        move |world: &mut World| {
            world.down.insert(3);
            world.reboot_after = Some(200);
            world.nodes[1].crash_at = Some(at);
            world.run(30_000, |w| w.lowest() >= 4);
        }
    };
    let is_caught =
        |at: &u64| found(network(&SignsUnsynced), 1_000 + at, crash(*at)).0.contains(&Invariant::SignedOnce);
    let caught =
        (1..=effects_of_an_epoch()).find(is_caught).expect("the monitor cannot fail: invariant 3 is not tested");
    let (clean, violations) = found(network(&Standard), 1_000 + caught, crash(caught));
    assert!(clean.is_empty(), "{violations}");
}

broken!(AnyTime: fn is_timely(&self, _: &FixedPolicy, _: u32, _: UnixMillis, _: UnixMillis) -> bool { true });

#[test]
fn a_block_of_a_wrong_clock_is_found() {
    control(&AnyTime, &[Invariant::Timely], 6, |world| {
        world.nodes[2].ahead = -3_000;
        // Until an epoch ends in its turn.
        world.demand(120_000, |w| w.final_through() >= 16);
    });
}

broken!(UntimelyIsInvalid: fn verdict(&self, proposal: Judged) -> Verdict {
    if proposal.is_timely { Standard.verdict(proposal) } else { Verdict::Invalid }
});

/// Two honest validators lock a block with the vote of one that lies. To the third it comes late: were it invalid to it for good, the
/// three would never agree again.
#[test]
fn a_late_block_that_is_invalid_for_good_is_found() {
    control(&UntimelyIsInvalid, &[Invariant::Progress], 23, |world| {
        let (liar, spec) = turn_bad(world);
        let is_first = |w: &World, i: usize| proposer(w, 0) == lucid_sim::genesis::signing_key(i).id();
        world.demand(60_000, |w| w.lowest() == w.highest() && (is_first(w, 0) || is_first(w, 1)));
        let height = world.highest() + 1;
        let delay = spec.fixed().message_delay_ms + 2 * spec.fixed().precision_ms;
        world.slow_down(2, delay);
        world.demand(20_000, |w| w.proposal(0).is_some() && w.proposal(1).is_some());
        let proposal = world.proposal(0).unwrap().proposal.record;
        assert_eq!((proposal.height.get(), proposal.round), (height, 0));
        let vote = Vote { kind: VoteKind::Prevote, height: proposal.height, round: 0, block: Some(proposal.block) };
        for node in [0, 1] {
            world.input(node, Input::Vote(liar.sign_vote(spec.id(), vote)));
        }
        world.run(2 * delay, |_| false);
        assert!(world.highest() < height, "it was decided without the third");
        world.slow_down(2, 0);
        world.demand(60_000, |w| w.lowest() >= height + 3);
    });
}

broken!(AnybodysTurn: fn is_turn(&self, _: Proposers<'_>, _: u32, _: &ValidatorId) -> bool { true });

#[test]
fn proposals_out_of_turn_are_found() {
    control(&AnybodysTurn, &[Invariant::Turns], 24, |world| {
        let (liar, spec) = turn_bad(world);
        // Two proposals of one round prove that it lies: soon it is no validator any more.
        world.demand(30_000, |w| w.lowest() >= 2);
        for _ in 0..4 {
            world.demand(30_000, |w| w.lowest() == w.highest());
            let height = world.nodes[0].replica.as_ref().unwrap().state().height().next();
            for (node, salt) in (0..3).flat_map(|node| [(node, 1), (node, 2)]) {
                if proposer(world, 0) != liar.id() {
                    // Refused, if the rule holds.
                    let _refused = offer(world, node, junk(&spec, &liar, height, 0, salt));
                }
            }
            world.demand(30_000, |w| w.lowest() >= height.get());
        }
    });
}

broken!(KeepsAll: fn has_room(&self, _: usize, _: bool) -> bool { true });

#[test]
fn proposals_without_bound_are_found() {
    control(&KeepsAll, &[Invariant::Bounded], 8, |world| {
        let (liar, spec) = turn_bad(world);
        world.demand(60_000, |w| w.lowest() == w.highest() && proposer(w, 0) == liar.id());
        let height = world.nodes[0].replica.as_ref().unwrap().state().height().next();
        for salt in 1..=8 {
            offer(world, 0, junk(&spec, &liar, height, 0, salt)).unwrap();
        }
        world.demand(30_000, |w| w.lowest() >= height.get());
    });
}

broken!(StartsForOne: fn is_heard(&self, _: &ValidatorSet, power: u64) -> bool { power > 0 });

#[test]
fn blocks_for_nothing_are_found() {
    control(&StartsForOne, &[Invariant::OnDemand], 19, |world| {
        let (liar, spec) = turn_bad(world);
        for _ in 0..100 {
            for node in 0..3 {
                let height = world.nodes[node].replica.as_ref().unwrap().state().height().next();
                world.input(node, Input::Wake(liar.sign_wake(spec.id(), Wake { height })));
            }
            world.run(50, |_| false);
        }
    });
}

broken!(AnyContribution: fn is_contribution(&self, _: &NetworkId, _: &Validator, _: Height, _: &BlsSignature) -> bool { true });

#[test]
fn a_chosen_contribution_to_the_beacon_is_found() {
    control(&AnyContribution, &[Invariant::Beacon], 8, |world| {
        let (liar, spec) = turn_bad(world);
        for _ in 0..16 {
            world.demand(30_000, |w| w.lowest() == w.highest());
            let state = world.nodes[0].replica.as_ref().unwrap().state().clone();
            if proposer(world, 0) == liar.id() {
                let mut block = valid(world, &liar, world.now.max(state.next_time(&spec)));
                // Some other height's: as good as any that it may choose among.
                block.header.randao = liar.bls_key().sign_randao(spec.id(), state.height());
                let outcome = validate(&spec, &state, &block.clone().verify(spec.id()).unwrap());
                let Err(InvalidBlock::StateRoot { expected, .. }) = outcome else { panic!("{outcome:?}") };
                block.header.state_root = expected;
                for node in 0..3 {
                    offer(world, node, propose(&spec, &liar, block.clone(), 0, None)).unwrap();
                }
            }
            world.demand(30_000, |w| w.lowest() > state.height().get());
        }
    });
}

broken!(AnyReveal: fn is_committed(&self, _: &Hash, _: &Hash) -> bool { true });

#[test]
fn a_report_that_was_not_committed_to_is_found() {
    control(&AnyReveal, &[Invariant::Committed], 16, |world| {
        let (liar, spec) = turn_bad(world);
        for epoch in (1..=3).map(Epoch::new) {
            let state = |w: &World, i: usize| w.nodes[i].replica.as_ref().unwrap().state().clone();
            world.demand(30_000, |w| (0..3).all(|i| state(w, i).has::<PendingEpochs>(&epoch)));
            let draw = state(world, 0).get::<Draws>(&epoch).unwrap().clone();
            let assigned: Vec<_> = draw.assignment(&liar.id()).unwrap().map(|(it, _)| (it.assigned(), None)).collect();
            let stored = vec![None; draw.storage_assignment(&liar.id()).unwrap().count()];
            let report = Hash::from_bytes([7; 32]);
            let reveal = Reveal { report: ScoreReport::new(epoch, &assigned, &stored), salt: [7; 32] };
            for node in 0..3 {
                let commitment = liar.sign_report_commitment(spec.id(), ReportCommitment { epoch, report });
                world.input(node, Input::Commitment(commitment));
                world.input(node, Input::Reveal(liar.sign_report(spec.id(), reveal.clone())));
            }
            world.demand(30_000, |w| w.final_through() >= epoch.get());
        }
    });
}

broken!(ForfeitsCostNothing: fn loses_validation_pay(&self, _: &Policy, _: &Duty) -> bool { false });

/// A validator that reveals every other report only, and takes none of its turns.
#[test]
fn pay_for_duties_that_were_not_done_is_found() {
    control(&ForfeitsCostNothing, &[Invariant::Duties], 33, |world| {
        let (liar, spec) = turn_bad(world);
        for epoch in (1..=6).map(Epoch::new) {
            let state = |w: &World, i: usize| w.nodes[i].replica.as_ref().unwrap().state().clone();
            world.demand(30_000, |w| (0..3).all(|i| state(w, i).has::<PendingEpochs>(&epoch)));
            let draw = state(world, 0).get::<Draws>(&epoch).unwrap().clone();
            let seen = |it: AssignedWorker| Observation {
                pings_sent: 4,
                pings_answered: 4,
                rtt_us: LogScale::encode(500),
                echo_kbit_s: it.has_echo.then(|| LogScale::encode(80_000)),
                group: None,
            };
            let report = |it: AssignedWorker| (it, Some(seen(it)));
            let assigned: Vec<_> = draw.assignment(&liar.id()).unwrap().map(|(it, _)| report(it.assigned())).collect();
            let stored = vec![None; draw.storage_assignment(&liar.id()).unwrap().count()];
            let reveal = Reveal { report: ScoreReport::new(epoch, &assigned, &stored), salt: [7; 32] };
            let account = validator_key(3).account();
            let report = reveal.commitment(spec.id(), &account);
            for node in 0..3 {
                let commitment = liar.sign_report_commitment(spec.id(), ReportCommitment { epoch, report });
                world.input(node, Input::Commitment(commitment));
                if epoch.get() % 2 == 0 {
                    world.input(node, Input::Reveal(liar.sign_report(spec.id(), reveal.clone())));
                }
            }
            world.demand(30_000, |w| w.final_through() >= epoch.get());
        }
    });
}

// An epoch's seed is known when the epoch before is closed, and may be guessed at before.
broken!(MaintenanceAtOnce: fn counts_from(&self, epoch: Epoch) -> Epoch { epoch });

#[test]
fn a_worker_that_dodges_a_draw_is_found() {
    control(&MaintenanceAtOnce, &[Invariant::Drawn], 34, |world| {
        world.demand(60_000, |w| w.final_through() >= 1);
        let action = NodeAction::Maintenance { from: Epoch::ZERO, epochs: 2, scope: MaintenanceScope::All };
        let (key, id) = (worker_key(0), *world.spec.id());
        let command = Command { account: key.account(), nonce: 0, until: FAR, action: Action::Node(action) };
        let command = sign(&id, &command, &[key]).verify(&id).unwrap();
        for node in 0..4 {
            world.input(node, Input::Command(command.clone()));
        }
        world.demand(60_000, |w| w.final_through() >= 7);
        assert_eq!(world.promises.commands.len(), 1);
    });
}

broken!(PowerCountsTwice: fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
    let probes = seen.probes.iter().map(|it| Probe { seats: it.seats * it.seats, ..*it }).collect();
    let stored = seen.stored.iter().map(|it| Stored { seats: it.seats * it.seats, ..*it }).collect();
    aggregate(policy, worker, &Seen { probes, stored })
});

#[test]
fn weights_that_are_not_seats_are_found() {
    let specs = [network_of(&[1, 2, 3, 4], 10, &Standard), network_of(&[1, 2, 3, 4], 10, &PowerCountsTwice)];
    compare(specs, &[Invariant::Medians], 25, |world| world.demand(60_000, |w| w.final_through() >= 4));
}

broken!(FailureAbstains: fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
    let probes = seen.probes.iter().filter(|it| it.seen.pings_answered > 0).copied().collect();
    aggregate(policy, worker, &Seen { probes, stored: seen.stored.clone() })
});

#[test]
fn failures_that_do_not_count_are_found() {
    control(&FailureAbstains, &[Invariant::Medians], 26, |world| world.demand(60_000, |w| w.final_through() >= 4));
}

broken!(StorageByMean: fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
    let all = || seen.stored.iter().map(|it| (u32::from(it.seats), u32::from(it.chunks)));
    let sum: u32 = all().map(|(seats, chunks)| seats * chunks).sum();
    let chunks = (policy.seats * sum).checked_div(all().map(|(seats, _)| seats).sum());
    Some(Aggregate { chunks, ..aggregate(policy, worker, seen)? })
});

broken!(StorageByMedian: fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
    let mut each: Vec<_> = seen.stored.iter().flat_map(|it| vec![it.chunks; usize::from(it.seats)]).collect();
    each.sort_unstable();
    let medians = aggregate(policy, worker, seen)?;
    let median = each.get(each.len().saturating_sub(1) / 2).filter(|_| medians.chunks.is_some());
    Some(Aggregate { chunks: median.map(|it| policy.chunks_of_all(*it)), ..medians })
});

#[test]
fn storage_of_half_the_seats_that_pays_as_all_is_found() {
    control(&StorageByMedian, &[Invariant::Medians], 30, |world| world.demand(60_000, |w| w.final_through() >= 4));
}

#[test]
fn storage_that_one_liar_can_raise_is_found() {
    control(&StorageByMean, &[Invariant::Medians], 30, |world| world.demand(60_000, |w| w.final_through() >= 4));
}

// A sum over those that verified an echo: one that claims the most counts as much as all others.
broken!(CreditsPerReporter: fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
    let mut medians = aggregate(policy, worker, seen)?;
    let verified = seen.probes.iter().filter(|it| it.seen.echo_kbit_s.is_some_and(|kbit_s| kbit_s.value() > 0));
    if let Some(echo) = &mut medians.echo {
        echo.bytes *= u64::try_from(verified.count()).ok()?;
    }
    Some(medians)
});

#[test]
fn credits_that_are_summed_up_are_found() {
    control(&CreditsPerReporter, &[Invariant::Medians], 31, |world| world.demand(60_000, |w| w.final_through() >= 4));
}

broken!(GroupsShareNothing: fn sharers(&self, _: &Policy, _: &ScoredWorker, _: &Aggregate, _: u16) -> u16 { 1 });

#[test]
fn one_machine_that_earns_as_many_is_found() {
    control(&GroupsShareNothing, &[Invariant::Medians], 32, |world| world.demand(60_000, |w| w.final_through() >= 4));
}

/// One node that computes something else than the others must stop, and the others go on.
#[test]
fn a_node_with_other_rules_is_found() {
    let run = |rules: &'static dyn Rules| {
        found(network(&Standard), 27, |world| {
            world.odd.insert(3, network(rules));
            world.demand(60_000, |w| (0..3).all(|i| w.height(i) >= 12));
        })
    };
    let (clean, violations) = run(&Standard);
    assert!(clean.is_empty(), "{violations}");
    let (found, violations) = run(&FailureAbstains);
    assert!(found.contains(&Invariant::Failed) && !found.contains(&Invariant::Progress), "{violations}");
}

// Whoever reports on the open epoch is judged by another policy than its draw was made by.
broken!(PolicyAtOnce: fn policy_from(&self, epoch: Epoch) -> Epoch { epoch });

#[test]
fn a_policy_that_counts_at_once_is_found() {
    control(&PolicyAtOnce, &[Invariant::Policies, Invariant::Medians], 33, |world| {
        world.run(6_000, |_| false);
        let newest = state(world).policies().newest().1.clone();
        let policy = Policy { storage_credits_per_gib: 4_000, ..Policy::clone(&newest) };
        change(world, PolicyChange { base: newest.hash(), policy }, 0);
        let epochs = world.final_through() + 4;
        world.demand(60_000, |w| w.final_through() >= epochs);
    });
}

broken!(CarriesNothing: fn carried(&self, _: MicroUsdt, _: MicroUsdt) -> Option<MicroUsdt> { Some(MicroUsdt::ZERO) });

#[test]
fn money_that_is_lost_is_found() {
    control(&CarriesNothing, &[Invariant::Balance], 15, |world| {
        world.reports = false;
        world.demand(60_000, |w| w.final_through() >= 4);
    });
}

broken!(RootsForgetLosses: fn root_total(&self, owed: MicroUsdt, fees: MicroUsdt, _: MicroUsdt) -> Option<MicroUsdt> {
    owed.checked_add(fees)
});

#[test]
fn a_root_that_signers_would_refuse_is_found() {
    control(&RootsForgetLosses, &[Invariant::Roots], 28, |world| {
        world.run(100, |_| false);
        let pool = world.first.pools().next().unwrap().0;
        let command = by_owner(&owner_key(), 0, pool, PoolAction::Losses(MicroUsdt::new(5_000_000)));
        let keys = [owner_key(), signer_key(1, 0), signer_key(1, 1)];
        let id = *world.spec.id();
        let command = sign(&id, &command, &keys).verify(&id).unwrap();
        for node in 0..4 {
            world.input(node, Input::Command(command.clone()));
        }
        world.demand(60_000, |w| w.final_through() >= 4);
        assert_eq!(world.promises.commands.len(), 1);
    });
}
