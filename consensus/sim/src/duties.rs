//! A second writing of what validators are paid for, and of when maintenance counts: from blocks alone.

use std::collections::BTreeMap;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::event::{Credited, Event, SharedPart};
use lucid_consensus::ledger::state::{FinalEpoch, Rows, State};
use lucid_consensus::ledger::table::Draws;
use lucid_consensus::replica::FinalizedBlock;
use lucid_types::block::Block;
use lucid_types::command::{Action, MaintenanceScope, NodeAction};
use lucid_types::id::{NodeId, PoolId, ValidatorId};
use lucid_types::payout::AccountKind;
use lucid_types::policy::Policy;
use lucid_types::pool::PoolAction;
use lucid_types::report::ScoreReport;
use lucid_types::time::Epoch;

/// What a validator did in a settlement.
#[derive(Default)]
struct Done {
    duties: u64,
    failures: u64,
    sessions: BTreeMap<PoolId, u64>,
}

/// A command of maintenance in a block.
struct Announced {
    /// The epoch of the block's time.
    given: u64,
    from: u64,
    until: u64,
    scope: MaintenanceScope,
}

/// What has been seen of it, block by block.
#[derive(Default)]
pub(crate) struct Duties {
    done: BTreeMap<(u64, NodeId), Done>,
    maintenance: BTreeMap<NodeId, Vec<Announced>>,
}

impl Duties {
    /// Who has the first turn at the block's height, and whether it took it.
    pub(crate) fn turn(&mut self, spec: &ChainSpec, before: &State, block: &Block) {
        let first = before.next_proposers().of(0).node;
        let under_way = before.final_through().get() / spec.fixed().settle_every + 1;
        let done = self.done.entry((under_way, first)).or_default();
        done.duties += 1;
        done.failures += u64::from(block.header.round != 0);
    }

    /// The reports of an epoch that is final now, by the account that committed to each; `None` if it was not revealed.
    pub(crate) fn reports(
        &mut self,
        spec: &ChainSpec,
        FinalEpoch { scores, draw, .. }: &FinalEpoch,
        reports: &[(ValidatorId, NodeId, Option<ScoreReport>)],
    ) {
        let settlement = scores.epoch.get().div_ceil(spec.fixed().settle_every);
        for (key, account, report) in reports {
            let done = self.done.entry((settlement, *account)).or_default();
            done.duties += 1;
            let Some(report) = report else {
                done.failures += 1;
                continue;
            };
            let assigned: Vec<_> = draw.assignment(key).unwrap().map(|(worker, _)| worker).collect();
            let workers: Vec<_> = assigned.iter().map(|worker| worker.assigned()).collect();
            for (worker, seen) in assigned.iter().zip(report.observations(&workers).unwrap()) {
                if seen.is_some() && scores.rows.iter().any(|row| row.worker == worker.node) {
                    *done.sessions.entry(worker.pool).or_default() += 1;
                }
            }
        }
    }

    /// Looks at the money that a block shares out; what is wrong.
    pub(crate) fn paid(&self, spec: &ChainSpec, before: &State, stored: &FinalizedBlock) -> Result<(), String> {
        let corrects = |action: &Action| matches!(action, Action::Pool { action: PoolAction::Correct { .. }, .. });
        if stored.decided.block.commands.iter().any(|command| corrects(&command.record.action)) {
            return Ok(());
        }
        for (pool, row) in stored.applied.state.pools() {
            let of = |state: &State| -> BTreeMap<NodeId, u64> {
                let accounts = state.accounts(&pool).filter(|(_, it)| it.kind == AccountKind::Validator);
                accounts.map(|(_, it)| (it.node, (it.owed.get() + it.held.get()) + it.correction.get())).collect()
            };
            let (was, is) = (of(before), of(&stored.applied.state));
            let grown = is.iter().map(|(node, sum)| (*node, sum - was.get(node).copied().unwrap_or(0)));
            let grown: BTreeMap<_, _> = grown.filter(|(_, sum)| *sum > 0).collect();
            let told = stored.applied.events.iter().find_map(|event| match event {
                Event::Shared { pool: of, settlement, pot, fee, commission, validators, members, parts, .. }
                    if *of == pool =>
                {
                    let sums = [*pot, *fee, *commission, *validators, *members].map(|part| part.get());
                    Some((*settlement, sums, parts))
                }
                _ => None,
            });
            let Some((settlement, [pot, fee, commission, part, members], parts)) = told else {
                if grown.is_empty() {
                    continue;
                }
                return Err(format!("{grown:?} of a pool that shared nothing out"));
            };
            let policy = before.policy(spec.fixed().last_epoch_of(settlement));
            let weights = self.weights(policy, settlement, &pool);
            let of_rest = |ppm: u32| u128::from(pot - fee) * u128::from(ppm) / 1_000_000;
            let rate = if weights.is_empty() { 0 } else { policy.validation_ppm.get() };
            let expected = [of_rest(row.terms_in(settlement).commission.get()), of_rest(rate)];
            if [commission, part].map(u128::from) != expected || fee + commission + part + members != pot {
                return Err(format!("{commission} and {part} of {pot} less {fee} instead of {expected:?}"));
            }
            let expected = shares(part, &weights);
            if grown != expected {
                return Err(format!("settlement {settlement}: validators earned {grown:?} instead of {expected:?}"));
            }
            told_in_parts(parts, &grown, [members, part, commission])
                .map_err(|e| format!("settlement {settlement}: {e}"))?;
        }
        Ok(())
    }

    /// Those who are paid by a pool, and how often they measured its workers.
    fn weights(&self, policy: &Policy, settlement: u64, pool: &PoolId) -> BTreeMap<NodeId, u64> {
        let most = u64::from(policy.max_forfeits.get());
        let of_it = self.done.iter().filter(|((of, _), _)| *of == settlement);
        let kept = of_it.filter(|(_, done)| done.failures * 1_000_000 <= done.duties * most);
        kept.filter_map(|((_, node), done)| Some((*node, *done.sessions.get(pool)?))).collect()
    }

    /// Notes the maintenance that a block's commands announce, and looks whom it draws; what is wrong.
    pub(crate) fn drawn(&mut self, spec: &ChainSpec, before: &State, stored: &FinalizedBlock) -> Result<(), String> {
        let block = &stored.decided.block;
        let given = spec.genesis().epoch_at(block.header.time).get();
        for command in &block.commands {
            let Action::Node(NodeAction::Maintenance { from, epochs, scope }) = command.record.action else { continue };
            let from = from.get().max(given + 2);
            let until = from + u64::from(epochs);
            let of_node = self.maintenance.entry(command.record.account).or_default();
            of_node.retain(|it| it.from < given + 2);
            of_node.push(Announced { given, from, until, scope });
        }
        let after = &stored.applied.state;
        let open = after.closed().next();
        let Some(draw) = after.get::<Draws>(&open).filter(|_| before.closed() != after.closed()) else { return Ok(()) };
        for (node, row) in after.nodes() {
            let active = |pool: &PoolId| after.pool(pool).is_some_and(|pool| pool.status.counts_in(open));
            let is_member = row.pool_in(open).is_some_and(|pool| active(&pool));
            let scope = self.scope(&node, open);
            let place = draw.scored.iter().find(|it| it.node == node);
            if place.is_some() != (is_member && scope != Some(MaintenanceScope::All)) {
                return Err(format!("{node} is drawn in epoch {open} or not, in maintenance {scope:?}"));
            }
            let takes = place.is_some_and(|it| it.echo_bytes.is_some() || it.quota > 0);
            if takes && scope.is_some() {
                return Err(format!("{node} takes traffic in epoch {open}, in maintenance {scope:?}"));
            }
        }
        Ok(())
    }

    /// What a node does not do in an epoch: the newest announcement that has begun says it.
    fn scope(&self, node: &NodeId, epoch: Epoch) -> Option<MaintenanceScope> {
        let of_node = self.maintenance.get(node)?;
        let newest = of_node.iter().rfind(|it| it.from <= epoch.get())?;
        assert!(newest.given + 2 <= newest.from);
        (epoch.get() < newest.until).then_some(newest.scope)
    }
}

/// Whether the parts that an event tells sum up to what it tells of each kind, and the validators' are what their accounts have grown by.
fn told_in_parts(parts: &[SharedPart], grown: &BTreeMap<NodeId, u64>, whole: [u64; 3]) -> Result<(), String> {
    for (kind, whole) in [AccountKind::Worker, AccountKind::Validator, AccountKind::Commission].into_iter().zip(whole) {
        let sum: u64 = parts.iter().filter(|part| part.kind == kind).map(|part| part.amount.get()).sum();
        if sum != whole {
            return Err(format!("{sum} in parts of {whole} for {kind:?}"));
        }
    }
    let is_credited = |part: &&SharedPart| part.kind == AccountKind::Validator && part.credited != Credited::Carried;
    let told: BTreeMap<_, _> = parts.iter().filter(is_credited).map(|part| (part.node, part.amount.get())).collect();
    if told == *grown { Ok(()) } else { Err(format!("{told:?} told of {grown:?}")) }
}

/// Whole parts by weight; what is left goes to the largest fractions, ties to the smaller id.
fn shares(part: u64, weights: &BTreeMap<NodeId, u64>) -> BTreeMap<NodeId, u64> {
    let total: u128 = weights.values().map(|weight| u128::from(*weight)).sum();
    let exact = |weight: &u64| u128::from(part) * u128::from(*weight);
    let mut shares: BTreeMap<NodeId, u64> =
        weights.iter().map(|(node, weight)| (*node, u64::try_from(exact(weight) / total).unwrap())).collect();
    let mut left = part - shares.values().sum::<u64>().min(part);
    let mut fractions: Vec<_> = weights.iter().map(|(node, weight)| (exact(weight) % total, *node)).collect();
    fractions.sort_by(|(one, a), (two, b)| two.cmp(one).then(a.cmp(b)));
    for (_, node) in fractions {
        if left > 0 {
            *shares.get_mut(&node).unwrap() += 1;
            left -= 1;
        }
    }
    shares.retain(|_, share| *share > 0);
    shares
}
