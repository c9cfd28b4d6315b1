//! One simulation: a world, epoch by epoch, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::state::{FinalEpoch, Rows, draw};
use lucid_consensus::ledger::table::{Draws, Nodes, Workers};
use lucid_node::score::agreement::{Agreement, Measurement};
use lucid_sim::chain::Chain;
use lucid_sim::genesis::{genesis, owner_key, signer_set, signing_key, validator_key, worker_id, worker_key};
use lucid_sim::pool::sign;
use lucid_sim::start::{Pool, Start, Worker as Registered};
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::command::{Action, Command, MaintenanceScope, NodeAction};
use lucid_types::genesis::Genesis;
use lucid_types::id::{NodeId, PayoutAddress, PoolId, ValidatorId};
use lucid_types::payout::{AccountKind, VaultLimits};
use lucid_types::time::Epoch;
use lucid_types::vault::Vault;

use super::conduct::{Validators, bad_seats};
use super::prober::Probers;
use super::world::{CHEAT, SETTLE_EVERY, World};

/// What came of a world, without its first settlement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Settlements that are counted.
    pub(super) settlements: u64,
    /// Micro-USDT that the workers on the cheat's machine earned.
    pub(super) earned: u64,
    /// Micro-USDT that the bad validators earned for validating.
    pub(super) validating: u64,
    /// Epochs in which the cheat's first worker was measured.
    pub(super) own_epochs: u64,
    /// Settlements at whose end it was eligible to lead.
    pub(super) eligible: u64,
    /// Credits for storage that the cheat's first worker earned.
    pub(super) storage_credits: u64,
    /// Seats at the cheat's first worker that bad validators held.
    pub(super) seats: u64,
    /// Epochs of a worker that were drawn, and those of them that were measured.
    pub(super) drawn: u64,
    pub(super) measured: u64,
    /// The greatest part of a bad validator's measurements that another one's of the same epoch equal, and of the epoch before.
    pub(super) copied: Ppm,
    pub(super) repeated: Ppm,
    /// How often somebody did what nobody honest would do.
    pub(super) acts: u64,
}

fn address(i: usize) -> PayoutAddress {
    PayoutAddress::from_hash20([u8::try_from(i % 250).unwrap_or_default(); 20])
}

fn pool_name(i: usize) -> String {
    format!("pool-{i}")
}

fn registered(node: NodeId, operator: NodeId, i: usize, disk_bytes: u64) -> Registered {
    // The bandwidth is what is measured.
    let capacity = Capacity { disk_bytes, ..Capacity::default() };
    Registered { node, operator, payout_address: address(i), gas_address: None, capacity }
}

/// The network of a world, as it begins.
fn start(world: &World) -> Start {
    let powers: Vec<_> = world.validators.iter().map(|it| it.power).collect();
    let validators = (0..powers.len()).map(|i| {
        let node = validator_key(i).account();
        registered(node, node, 100 + i, 0)
    });
    let operator =
        |i: usize, number: Option<usize>| number.map_or_else(|| worker_id(i), |it| validator_key(it).account());
    let workers = world
        .workers
        .iter()
        .enumerate()
        .map(|(i, it)| registered(worker_id(i), operator(i, it.operator), i, world.machines[it.machine].declared));
    let pool = |number: usize| Pool {
        name: pool_name(number),
        owner: owner_key().account(),
        members: world
            .workers
            .iter()
            .enumerate()
            .filter(|(_, it)| it.pool == number)
            .map(|(i, _)| worker_id(i))
            .collect(),
        budget: World::BUDGET,
        split: world.split,
        commission: Ppm::ZERO,
        commission_address: address(200),
        vault: Vault {
            address: address(201 + number),
            nonce: 0,
            limits: VaultLimits { cap: MicroUsdt::new(1 << 50), push_fee: MicroUsdt::ZERO },
            signers: signer_set(1),
        },
    };
    let genesis = Genesis { name: "cheats".into(), ..genesis(&powers, world.policy.clone()) };
    Start {
        genesis: with_operators(world, genesis),
        workers: workers.chain(validators).collect(),
        pools: (0..world.pools).map(pool).collect(),
    }
}

/// The operator of the cheat's worker, if it is known, runs all bad validators.
fn with_operators(world: &World, mut genesis: Genesis) -> Genesis {
    let operator = world.workers[CHEAT].operator.map(|it| validator_key(it).account());
    for (validator, model) in genesis.validators.iter_mut().zip(&world.validators) {
        if let Some(operator) = operator.filter(|_| model.is_bad) {
            validator.operator = operator;
        }
    }
    genesis
}

/// Runs a world with the chance of a seed.
pub(super) fn run(world: &World, seed: u64) -> Outcome {
    let start = start(world);
    let Ok(spec) = ChainSpec::new(start.genesis.clone()) else { return Outcome::default() };
    let spec = Arc::new(spec.with_rules(world.rules));
    let first = start.state(&spec).changed(|rows| {
        for (i, worker) in world.workers.iter().enumerate() {
            let node = rows.get_mut::<Nodes>(&worker_id(i));
            if let Some(membership) = node.and_then(|node| node.membership.as_mut()) {
                membership.from = worker.from;
            }
        }
        // Who is a member later on is not drawn in the first epoch.
        let (epoch, again) = (Epoch::new(1), draw(rows, Epoch::new(1)));
        rows.put::<Draws>(&epoch, again);
    });
    let keys: Vec<_> = (0..world.validators.len()).map(signing_key).collect();
    let ids: Vec<_> = keys.iter().map(|key| key.id()).collect();
    let workers: Vec<_> = (0..world.workers.len()).map(worker_id).collect();
    let cheats = world.workers.iter().zip(&workers).filter(|(it, _)| it.machine == CHEAT);
    let cheats: Vec<_> = cheats.map(|(_, id)| *id).collect();
    let mut chain = Chain::new(spec, first, keys);
    let mut probers = Probers::new(world, seed);
    let mut validators =
        Validators { world, ids: &ids, cheats: &cheats, measured: Vec::new(), before: BTreeMap::new(), acts: 0 };
    let mut counted =
        Counted { world, ids: &ids, cheats: &cheats, outcome: Outcome::default(), agreement: Agreement::default() };
    let (mut paid_before, mut acts_before) = ((0, 0), 0);
    for _ in 0..world.epochs {
        let epoch = chain.open();
        let Some(draw) = chain.state().open().cloned() else { break };
        validators.measured = match world.measures {
            true => probers.epoch(world, chain.spec().genesis(), chain.state(), (epoch, &draw), &ids, &workers),
            false => vec![None; ids.len()],
        };
        let commands: Vec<_> = (0..workers.len()).filter_map(|i| maintenance(world, &chain, i)).collect();
        let finalised = chain.epoch(&mut validators, &commands);
        validators.before = revealed(&ids, &finalised);
        if epoch.get() > SETTLE_EVERY {
            counted.add(&finalised, &workers);
            counted.outcome.acts += u64::try_from(commands.len()).unwrap_or(0);
            counted.outcome.eligible +=
                u64::from(epoch.get().is_multiple_of(SETTLE_EVERY) && is_eligible(&chain, &cheats));
        }
        if epoch.get() == SETTLE_EVERY {
            paid_before = counted.paid(&chain, &workers);
            acts_before = validators.acts + probers.acts;
        }
    }
    counted.outcome.acts += validators.acts + probers.acts - acts_before;
    let paid = counted.paid(&chain, &workers);
    counted.finish((paid.0 - paid_before.0, paid.1 - paid_before.1))
}

/// Whether the cheat's first worker may lead its pool.
fn is_eligible(chain: &Chain, cheats: &[NodeId]) -> bool {
    let (policy, through) = (&chain.spec().genesis().policy, chain.state().final_through());
    let stats = cheats.first().and_then(|id| chain.state().get::<Workers>(id));
    stats.is_some_and(|stats| stats.is_eligible(policy, through))
}

/// What a worker that dodges announces when an outage begins.
fn maintenance(world: &World, chain: &Chain, i: usize) -> Option<SignedCommand> {
    let epoch = chain.open();
    if !world.workers[i].dodges || epoch.get() % 6 != 1 {
        return None;
    }
    let (key, until) = (worker_key(i), chain.spec().genesis().epoch_end(epoch.next().next()));
    let (account, nonce) = (key.account(), chain.state().nonce(&key.account()).next);
    // The outage's second epoch, if it is not too late for that.
    let action = NodeAction::Maintenance { from: epoch.next(), epochs: 1, scope: MaintenanceScope::All };
    Some(sign(chain.spec().id(), &Command { account, nonce, until, action: Action::Node(action) }, &[key]))
}

fn revealed(ids: &[ValidatorId], finalised: &FinalEpoch) -> BTreeMap<usize, lucid_types::report::ScoreReport> {
    let of = |id: &ValidatorId| ids.iter().position(|it| it == id);
    finalised.reports.iter().filter_map(|(id, report)| Some((of(id)?, report.clone()?))).collect()
}

/// What counts, epoch by epoch.
struct Counted<'a> {
    world: &'a World,
    ids: &'a [ValidatorId],
    cheats: &'a [NodeId],
    outcome: Outcome,
    agreement: Agreement,
}

impl Counted<'_> {
    fn add(&mut self, finalised: &FinalEpoch, workers: &[NodeId]) {
        let FinalEpoch { scores, draw, reports, .. } = finalised;
        let is_drawn = |id: &NodeId| draw.scored.iter().any(|it| it.node == *id);
        let pretences = workers.iter().enumerate().filter(|(i, id)| self.world.is_pretence(*i) && is_drawn(id));
        self.outcome.acts += u64::try_from(pretences.count()).unwrap_or(0);
        self.outcome.drawn += u64::try_from(draw.scored.len()).unwrap_or(0);
        self.outcome.measured += u64::try_from(scores.rows.len()).unwrap_or(0);
        for row in scores.rows.iter().filter(|row| Some(&row.worker) == self.cheats.first()) {
            self.outcome.own_epochs += 1;
            self.outcome.storage_credits += row.earned.storage.get();
        }
        self.outcome.seats += bad_seats(self.world, self.ids, self.cheats, draw);
        let mut all = Vec::new();
        for (id, report) in reports {
            let (Some(report), Some(assigned)) = (report, draw.assignment(id)) else { continue };
            let assigned: Vec<_> = assigned.collect();
            let workers: Vec<_> = assigned.iter().map(|(worker, _)| worker.assigned()).collect();
            let Some(number) = self.ids.iter().position(|it| it == id) else { continue };
            let validator = validator_key(number).account();
            let seen = report.observations(&workers).unwrap_or_default();
            all.extend(assigned.iter().zip(seen).filter_map(|((worker, seats), seen)| {
                Some(Measurement { worker: worker.node, validator, seats: *seats, seen: seen? })
            }));
        }
        self.agreement.add(scores.epoch, all);
    }

    /// What the cheat's workers, and the bad validators, were owed so far by all pools.
    fn paid(&self, chain: &Chain, workers: &[NodeId]) -> (u64, u64) {
        let pools = || (0..self.world.pools).map(|i| PoolId::derive(chain.spec().id(), &pool_name(i)));
        let of = |kind, node: &NodeId| pools().map(|pool| chain.owed(&pool, kind, node)).sum::<u64>();
        let earned = workers.iter().filter(|id| self.cheats.contains(id)).map(|id| of(AccountKind::Worker, id)).sum();
        let bad = self.world.validators.iter().enumerate().filter(|(_, it)| it.is_bad);
        let validating = bad.map(|(i, _)| of(AccountKind::Validator, &validator_key(i).account())).sum();
        (earned, validating)
    }

    fn finish(self, (earned, validating): (u64, u64)) -> Outcome {
        let bad = self.world.validators.iter().enumerate().filter(|(_, it)| it.is_bad);
        let bad: Vec<_> = bad.map(|(i, _)| validator_key(i).account()).collect();
        let (mut copied, mut repeated) = (Ppm::ZERO, Ppm::ZERO);
        for pair in self.agreement.findings().pairs {
            for (one, repeats) in [(pair.a, pair.a_repeats_b), (pair.b, pair.b_repeats_a)] {
                if bad.contains(&one) {
                    (copied, repeated) = (copied.max(pair.identical), repeated.max(repeats));
                }
            }
        }
        let settlements = (self.world.epochs / SETTLE_EVERY).saturating_sub(1);
        Outcome { settlements, earned, validating, copied, repeated, ..self.outcome }
    }
}
