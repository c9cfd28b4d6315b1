//! What validators report, and how the bad ones among them cheat.

use std::collections::BTreeMap;

use lucid_consensus::ledger::state::{Rows, State, draw};
use lucid_consensus::ledger::table::Draws;
use lucid_score::draw::EpochDraw;
use lucid_score::report::MAX_KBIT_S;
use lucid_sim::chain::{Chain, Conduct};
use lucid_types::bls::BlsSignature;
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::report::{Observation, ScoreReport};
use lucid_types::time::{Epoch, Height};
use lucid_types::validator_key::ValidatorKey;

use super::world::{Plot, World};

/// The validators of a world, with what their probers measured in the newest epoch.
pub(super) struct Validators<'a> {
    pub(super) world: &'a World,
    /// Their keys' ids.
    pub(super) ids: &'a [ValidatorId],
    /// The workers on the cheat's machine.
    pub(super) cheats: &'a [NodeId],
    /// By their numbers.
    pub(super) measured: Vec<Option<ScoreReport>>,
    /// What was revealed of the epoch before.
    pub(super) before: BTreeMap<usize, ScoreReport>,
}

impl Validators<'_> {
    fn is_bad(&self, validator: usize) -> bool {
        self.world.validators[validator].is_bad
    }

    /// A report with other observations of the cheat's workers.
    fn changed(
        &self,
        draw: &EpochDraw,
        validator: usize,
        report: &ScoreReport,
        change: impl Fn(Observation) -> Observation,
    ) -> Option<ScoreReport> {
        let id = &self.ids[validator];
        let workers: Vec<_> = draw.assignment(id)?.map(|(worker, _)| worker).collect();
        let assigned: Vec<_> = workers.iter().map(|worker| worker.assigned()).collect();
        let seen = report.observations(&assigned).ok()?;
        let all = workers.iter().zip(assigned).zip(seen).map(|((worker, assigned), seen)| {
            let is_theirs = self.cheats.contains(&worker.node);
            (assigned, if is_theirs { Some(change(seen.unwrap_or_default())) } else { seen })
        });
        let n_stored = draw.storage_assignment(id)?.count();
        let stored: Vec<_> = report.proved(n_stored).ok()?.collect();
        Some(ScoreReport::new(report.epoch, &all.collect::<Vec<_>>(), &stored))
    }

    fn lie(&self, draw: &EpochDraw, validator: usize, report: &ScoreReport) -> Option<ScoreReport> {
        let pings = u8::try_from(self.world.policy.pings).unwrap_or(u8::MAX);
        match self.world.plot {
            Plot::Praise => self.changed(draw, validator, report, |_| Observation {
                pings_sent: pings,
                pings_answered: pings,
                rtt_us: LogScale::encode(1_000),
                echo_kbit_s: Some(LogScale::encode(MAX_KBIT_S)),
                group: None,
            }),
            Plot::Smear => self.changed(draw, validator, report, |_| Observation {
                pings_sent: pings,
                echo_kbit_s: Some(LogScale::ZERO),
                ..Observation::default()
            }),
            Plot::Exaggerate => self.changed(draw, validator, report, |seen| {
                let most =
                    |kbit_s: LogScale| if kbit_s > LogScale::ZERO { LogScale::encode(MAX_KBIT_S) } else { kbit_s };
                Observation { echo_kbit_s: seen.echo_kbit_s.map(most), ..seen }
            }),
            Plot::RepeatOthers => {
                let other = self.before.iter().find(|(other, _)| !self.is_bad(**other));
                let mut repeated = other.map_or_else(|| report.clone(), |(_, other)| other.clone());
                repeated.epoch = report.epoch;
                Some(repeated)
            }
            _ => Some(report.clone()),
        }
    }
}

/// Seats at the cheat's first worker that bad validators hold.
pub(super) fn bad_seats(world: &World, ids: &[ValidatorId], cheats: &[NodeId], draw: &EpochDraw) -> u64 {
    let is_bad = |id: &ValidatorId| ids.iter().position(|it| it == id).is_some_and(|i| world.validators[i].is_bad);
    let scored = draw.scored.iter().find(|it| Some(&it.node) == cheats.first());
    let seats = scored.into_iter().flat_map(|it| &it.seats);
    let of_them = seats.filter(|it| is_bad(&draw.reporters[usize::from(it.reporter)]));
    of_them.map(|it| u64::from(it.count)).sum()
}

/// The draw that the next block makes if it closes the open epoch and leads to this beacon.
fn next_draw(state: &State, beacon: Hash) -> EpochDraw {
    let closing = state.changed(|rows| {
        rows.head.beacon = beacon;
        rows.head.height = rows.head.height.next();
    });
    draw(&closing, state.closed().next().next())
}

impl Conduct for Validators<'_> {
    fn report(&mut self, chain: &Chain, epoch: Epoch, validator: usize) -> Option<ScoreReport> {
        let report = self.measured.get(validator)?.clone()?;
        if !self.is_bad(validator) {
            return Some(report);
        }
        self.lie(chain.state().get::<Draws>(&epoch)?, validator, &report)
    }

    fn reveal(
        &mut self,
        validator: usize,
        committed: &ScoreReport,
        others: &BTreeMap<usize, ScoreReport>,
    ) -> Option<ScoreReport> {
        match self.world.plot {
            Plot::Withhold if self.is_bad(validator) && committed.epoch.get().is_multiple_of(2) => None,
            Plot::CopyOthers if self.is_bad(validator) => others.values().next().or(Some(committed)).cloned(),
            _ => Some(committed.clone()),
        }
    }

    fn includes(&mut self, proposer: usize, validator: usize) -> bool {
        self.world.plot != Plot::Censor || !self.is_bad(proposer) || self.is_bad(validator)
    }

    fn proposes(&mut self, chain: &Chain, proposer: usize, beacon: Hash) -> bool {
        let closes = chain.state().pending().next().is_none();
        if self.world.plot != Plot::ChooseSeeds || !self.is_bad(proposer) || !closes {
            return true;
        }
        let power = |is_counted: &dyn Fn(usize) -> bool| -> u64 {
            let all = self.world.validators.iter().enumerate();
            all.filter(|(i, _)| is_counted(*i)).map(|(_, it)| it.power).sum()
        };
        let (theirs, all) = (power(&|i| self.is_bad(i)), power(&|_| true));
        let seats = bad_seats(self.world, self.ids, self.cheats, &next_draw(chain.state(), beacon));
        seats * all >= u64::from(self.world.policy.seats) * theirs
    }

    fn contribution(&mut self, chain: &Chain, proposer: usize, key: &ValidatorKey) -> Option<BlsSignature> {
        let state = chain.state();
        let Plot::GrindSeeds(tries) = self.world.plot else { return None };
        if !self.is_bad(proposer) || state.pending().next().is_some() {
            return None;
        }
        // Those of other heights are as good as any that it could choose among.
        let of = |n| key.bls_key().sign_randao(chain.spec().id(), Height::new(state.height().get() + 1 + n));
        let seats = |randao: &BlsSignature| {
            let beacon = lucid_consensus::ledger::execute::next_beacon(&state.head().beacon, randao);
            bad_seats(self.world, self.ids, self.cheats, &next_draw(state, beacon))
        };
        (0..tries).map(of).max_by_key(seats)
    }
}
