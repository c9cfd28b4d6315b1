//! What validators owe the network and what they measured, in the settlement under way: what their pay follows from.
//!
//! A duty is a report to reveal once it is committed to, or a turn to propose in round 0 of a height. Validators are paid out of each pool's
//! pot by how often they measured its workers, whether they are members or not; whoever has failed at too many duties is paid nothing.
//! The rule is that of `docs/src/specification.md`, "Validators' part".

use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::worker_stats::ScoreRow;
use lucid_types::codec::Wire;
use lucid_types::id::{NodeId, PoolId, ValidatorId};
use lucid_types::time::Epoch;
use serde::{Deserialize, Serialize};

use crate::chain_spec::ChainSpec;
use crate::ledger::check::InvalidBlock;
use crate::ledger::state::{Overlay, Rows, State};
use crate::ledger::table::{Duties, Table, UsedKeys, Validations};

/// How a validator did its duties in a settlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// The settlement.
    pub settlement: u64,
    /// Reports that it committed to.
    pub committed: u32,
    /// Those of them that it did not reveal in time.
    pub forfeited: u32,
    /// Heights at which round 0 was its turn to propose.
    pub turns: u32,
    /// Those of them that were decided in a later round.
    pub missed_turns: u32,
}

impl Wire for Duty {
    const MAX_BYTES: usize = 24;
}

/// Who measured a pool's workers in the settlement under way, by validator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolValidations {
    by_validator: Vec<Validation>,
}

/// What one validator measured of a pool's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// The validator's account.
    pub validator: NodeId,
    /// How many workers it measured, epoch by epoch, of those whose scores became final: whatever its seats for each.
    pub sessions: u32,
}

impl Wire for PoolValidations {
    const MAX_BYTES: usize = 8 + Self::MAX * 36;
}

impl PoolValidations {
    /// The most validators of one settlement, several sets of the greatest size: those that come later are not added.
    pub const MAX: usize = 4_096;

    /// By validator.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Validation> {
        self.by_validator.iter()
    }

    /// Adds sessions of a validator.
    pub fn add(&mut self, validator: NodeId, sessions: u32) {
        match self.by_validator.binary_search_by_key(&validator, |it| it.validator) {
            Ok(place) => self.by_validator[place].sessions = self.by_validator[place].sessions.saturating_add(sessions),
            Err(place) if self.by_validator.len() < Self::MAX => {
                self.by_validator.insert(place, Validation { validator, sessions });
            }
            Err(_) => {}
        }
    }
}

impl State {
    /// How a validator has done its duties in the newest settlement in which it had any.
    pub fn duty(&self, validator: &NodeId) -> Option<&Duty> {
        self.get::<Duties>(validator)
    }
}

/// How a validator did its duties in a settlement that is not before the newest in which it had any.
pub(crate) fn duty_in(rows: &impl Rows, validator: &NodeId, settlement: u64) -> Duty {
    let known = rows.get::<Duties>(validator).copied().filter(|duty| duty.settlement == settlement);
    known.unwrap_or(Duty { settlement, ..Duty::default() })
}

/// Notes whose turn it was to propose in round 0, and whether the block was decided in a later one.
///
/// It counts for the settlement of the first epoch whose scores were not final before the block: with that epoch's, that settlement is paid.
pub(crate) fn count_turn(spec: &ChainSpec, overlay: &mut Overlay<'_>, before: &State, round: u32) {
    let settlement = spec.fixed().settlement_of(before.final_through().next());
    let proposer = before.next_proposers().of(0).node;
    let mut duty = duty_in(overlay, &proposer, settlement);
    duty.turns = duty.turns.saturating_add(1);
    duty.missed_turns = duty.missed_turns.saturating_add(u32::from(round > 0));
    overlay.put::<Duties>(&proposer, duty);
}

/// What a validator with this key did of its duties in an epoch that becomes final.
pub(crate) struct Reported {
    /// The key with which it committed to its report.
    pub(crate) key: ValidatorId,
    /// The workers that it measured, by their places in the draw; `None` if it did not reveal.
    pub(crate) measured: Option<Vec<usize>>,
}

/// Notes of everybody who committed to a report of an epoch whether it revealed it, and counts for each pool how many of its workers that
/// have rows, which are in their order, it measured.
pub(crate) fn count_reports(
    spec: &ChainSpec,
    overlay: &mut Overlay<'_>,
    draw: &EpochDraw,
    epoch: Epoch,
    rows: &[ScoreRow],
    reported: &[Reported],
) -> Result<(), InvalidBlock> {
    let settlement = spec.fixed().settlement_of(epoch);
    let mut pools: Vec<PoolId> = draw.scored.iter().map(|worker| worker.pool).collect();
    pools.sort_unstable();
    pools.dedup();
    // The place among the pools of each worker that has a row.
    let pool_of = |worker: &ScoredWorker| {
        rows.binary_search_by_key(&worker.node, |row| row.worker).ok()?;
        pools.binary_search(&worker.pool).ok()
    };
    let pool_of: Vec<_> = draw.scored.iter().map(pool_of).collect();
    let mut sessions = vec![Vec::new(); pools.len()];
    for Reported { key, measured } in reported {
        let validator = overlay.get::<UsedKeys>(key).ok_or(InvalidBlock::Damaged(UsedKeys::NAME))?.account;
        let mut duty = duty_in(overlay, &validator, settlement);
        duty.committed = duty.committed.saturating_add(1);
        duty.forfeited = duty.forfeited.saturating_add(u32::from(measured.is_none()));
        overlay.put::<Duties>(&validator, duty);
        let mut counts = vec![0u32; pools.len()];
        for pool in measured.iter().flatten().filter_map(|place| pool_of[*place]) {
            counts[pool] = counts[pool].saturating_add(1);
        }
        for (of_pool, count) in sessions.iter_mut().zip(counts).filter(|(_, count)| *count > 0) {
            of_pool.push((validator, count));
        }
    }
    for (pool, sessions) in pools.iter().zip(sessions).filter(|(_, sessions)| !sessions.is_empty()) {
        let mut row = overlay.get::<Validations>(pool).cloned().unwrap_or_default();
        sessions.into_iter().for_each(|(validator, count)| row.add(validator, count));
        overlay.put::<Validations>(pool, row);
    }
    Ok(())
}
