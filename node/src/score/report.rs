//! What a pool's members did in some epochs, and what each account was given for the settlements among them.

use std::collections::BTreeMap;

use lucid_consensus::ledger::event::Credited;
use lucid_score::draw::EpochDraw;
use lucid_score::worker_stats::ScoreRow;
use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout::AccountKind;

use crate::history::ledger::SharedRecord;

/// What one account did, and what it was given. Of others than workers only the amounts are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Epochs in which it was drawn for the pool, of those whose draws are kept.
    pub drawn: u64,
    /// Epochs with a score.
    pub measured: u64,
    /// Of them, those in which it was not reached at all.
    pub unreached: u64,
    /// Sum of its scores.
    scores: u64,
    /// Credits for echoes.
    pub relay: Credits,
    /// Credits for storage.
    pub storage: Credits,
    /// What is left of both after sharing them in its network.
    pub credits: Credits,
    /// Its share among those of its kind, of all settlements together.
    pub weight: u128,
    /// What became owed.
    pub owed: MicroUsdt,
    /// What is held.
    pub held: MicroUsdt,
    /// What was carried, as it has no account.
    pub carried: MicroUsdt,
}

impl Line {
    /// The mean of its scores; none without one.
    pub fn mean_score(&self) -> Option<Ppm> {
        self.scores.checked_div(self.measured).map(|mean| Ppm::ratio(mean, Ppm::ONE.get().into()))
    }

    fn add(&mut self, row: &ScoreRow) {
        self.measured += 1;
        self.unreached += u64::from(row.reachable_ms == 0);
        self.scores += u64::from(row.score.get());
        self.relay = self.relay.saturating_add(row.earned.relay);
        self.storage = self.storage.saturating_add(row.earned.storage);
        self.credits = self.credits.saturating_add(row.credits);
    }
}

/// Gathers epochs and settlements, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pool: PoolId,
    /// By account.
    pub lines: BTreeMap<(AccountKind, NodeId), Line>,
    /// Settlements that were shared out.
    pub settlements: u64,
    /// Their budgets, with what was carried into them.
    pub pots: MicroUsdt,
    /// Push fees of them.
    pub fees: MicroUsdt,
}

impl Report {
    /// Of a pool.
    pub const fn new(pool: PoolId) -> Self {
        let none = MicroUsdt::ZERO;
        Self { pool, lines: BTreeMap::new(), settlements: 0, pots: none, fees: none }
    }

    /// Adds the scores of an epoch. The draw says which of them are the pool's; without one, those are whom its settlement gave a share.
    pub fn add_epoch(&mut self, draw: Option<&EpochDraw>, shared: Option<&SharedRecord>, rows: &[ScoreRow]) {
        let pool = self.pool;
        if let Some(draw) = draw {
            for worker in draw.scored.iter().filter(|worker| worker.pool == pool) {
                self.line(AccountKind::Worker, worker.node).drawn += 1;
            }
        }
        let is_of_pool = |worker: &NodeId| match (draw, shared) {
            (Some(draw), _) => {
                let place = draw.scored.binary_search_by_key(worker, |scored| scored.node);
                place.is_ok_and(|place| draw.scored[place].pool == pool)
            }
            (None, shared) => shared.is_some_and(|shared| shared.part(AccountKind::Worker, worker).is_some()),
        };
        for row in rows.iter().filter(|row| is_of_pool(&row.worker)) {
            self.line(AccountKind::Worker, row.worker).add(row);
        }
    }

    /// Adds what was given for a settlement.
    pub fn add_settlement(&mut self, shared: &SharedRecord) {
        self.settlements += 1;
        self.pots = self.pots.saturating_add(shared.pot);
        self.fees = self.fees.saturating_add(shared.fee);
        for part in &shared.parts {
            let line = self.line(part.kind, part.node);
            line.weight = line.weight.saturating_add(part.weight);
            let sum = match part.credited {
                Credited::Owed => &mut line.owed,
                Credited::Held => &mut line.held,
                Credited::Carried => &mut line.carried,
            };
            *sum = sum.saturating_add(part.amount);
        }
    }

    fn line(&mut self, kind: AccountKind, node: NodeId) -> &mut Line {
        self.lines.entry((kind, node)).or_default()
    }

    /// What became owed, is held and was carried, of all accounts together.
    pub fn amounts(&self) -> [MicroUsdt; 3] {
        let sum =
            |of: fn(&Line) -> MicroUsdt| self.lines.values().map(of).fold(MicroUsdt::ZERO, MicroUsdt::saturating_add);
        [sum(|line| line.owed), sum(|line| line.held), sum(|line| line.carried)]
    }
}

#[cfg(test)]
mod tests {
    use lucid_types::pool::SplitRule;
    use lucid_types::time::Epoch;

    use super::*;
    use crate::score::fixture::{Chain, Did, EPOCHS};

    fn chain() -> Chain {
        let mut chain = Chain::with(SplitRule::CreditsTimesScore, |start| {
            start.pools[0].commission = Ppm::new(100_000);
        });
        chain.run(2 * EPOCHS, |epoch, worker| match (epoch.get(), worker) {
            (2 | 3, 0) => Did::Nothing,
            (5, 0) | (6, 1) => Did::NotMeasured,
            _ => Did::Well,
        });
        chain
    }

    /// Both settlements of a chain, with draws from an epoch on.
    fn report(chain: &Chain, first_draw: u64) -> Report {
        let mut report = Report::new(chain.pool());
        for (epoch, it) in &chain.finals {
            let draw = Some(&it.draw).filter(|_| *epoch >= Epoch::new(first_draw));
            let settlement = epoch.get().div_ceil(EPOCHS);
            report.add_epoch(draw, Some(chain.shared(settlement)), &it.scores.rows);
        }
        [1, 2].into_iter().for_each(|settlement| report.add_settlement(chain.shared(settlement)));
        report
    }

    #[test]
    fn the_amounts_are_what_the_accounts_have() {
        let chain = chain();
        let report = report(&chain, 1);
        let [owed, held, carried] = report.amounts();
        assert_eq!(Some(owed), chain.state.owed(&chain.pool()));
        assert_eq!(
            (held, carried, report.fees, report.settlements),
            (MicroUsdt::ZERO, MicroUsdt::ZERO, MicroUsdt::ZERO, 2)
        );
        assert_eq!(report.pots, owed);
        for (_, account) in chain.state.accounts(&chain.pool()) {
            assert_eq!(report.lines[&(account.kind, account.node)].owed, account.owed);
        }
        let kinds: Vec<_> = report.lines.keys().map(|(kind, _)| *kind).collect();
        let expected = [AccountKind::Worker, AccountKind::Worker, AccountKind::Commission, AccountKind::Validator];
        assert_eq!(kinds, expected, "the validator has measured, and its part is nothing here");
    }

    #[test]
    fn a_member_is_told_what_it_did() {
        let chain = chain();
        let whole = report(&chain, 1);
        let line = whole.lines[&(AccountKind::Worker, chain.worker(0))];
        assert_eq!((line.drawn, line.measured, line.unreached), (8, 7, 2));
        let rows = [chain.rows(1, 0), chain.rows(2, 0)].concat();
        let scores: u32 = rows.iter().map(|(_, row)| row.score.get()).sum();
        assert_eq!(line.mean_score(), Some(Ppm::new(scores / 7)));
        let credits = rows.iter().fold(Credits::ZERO, |sum, (_, row)| sum.saturating_add(row.credits));
        assert_eq!(
            (line.credits, line.relay),
            (credits, credits),
            "nobody shares, and so little storage earns nothing"
        );
        // Where draws are not kept any more, who got a share was drawn; how often is not known.
        let later = report(&chain, 5);
        let of = |report: &Report| report.lines[&(AccountKind::Worker, chain.worker(0))];
        assert_eq!(of(&later), Line { drawn: 4, ..of(&whole) });
    }

    #[test]
    fn what_is_held_or_carried_is_told_apart() {
        let chain = chain();
        let mut shared = chain.shared(1).clone();
        shared.parts[0].credited = Credited::Held;
        shared.parts[1].credited = Credited::Carried;
        let mut report = Report::new(chain.pool());
        report.add_settlement(&shared);
        let amounts: Vec<_> = shared.parts.iter().map(|part| part.amount).collect();
        assert_eq!(report.amounts(), [amounts[2].saturating_add(amounts[3]), amounts[0], amounts[1]]);
        assert!(report.lines.values().all(|line| line.mean_score().is_none()));
        // Of another pool nothing is told.
        let mut other = Report::new(PoolId::from_bytes([7; 32]));
        let it = &chain.finals[&Epoch::new(1)];
        other.add_epoch(Some(&it.draw), None, &it.scores.rows);
        assert!(other.lines.is_empty());
    }
}
