//! What validators report, and how the bad ones among them cheat.

use std::collections::BTreeMap;

use lucid_consensus::ledger::duties::Duty;
use lucid_consensus::ledger::execute::next_beacon;
use lucid_consensus::ledger::state::{Rows, State, draw};
use lucid_consensus::ledger::table::Draws;
use lucid_score::draw::EpochDraw;
use lucid_score::report::MAX_KBIT_S;
use lucid_sim::chain::{Chain, Conduct};
use lucid_types::bls::BlsSignature;
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::report::{Observation, ScoreReport};
use lucid_types::time::Epoch;
use lucid_types::validator_key::ValidatorKey;

use super::world::{Plot, World};

/// Among how many contributions to the beacon a proposer chooses where the network takes more than one.
const CONTRIBUTIONS: u64 = 16;

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
    /// How often bad validators did what an honest one would not: told a lie, withheld, left out, passed, or chose.
    pub(super) acts: u64,
}

impl Validators<'_> {
    fn is_bad(&self, validator: usize) -> bool {
        self.world.validators[validator].is_bad
    }

    /// A report with other observations of the cheat's workers, or with none.
    fn changed(
        &self,
        draw: &EpochDraw,
        validator: usize,
        report: &ScoreReport,
        change: impl Fn(Observation) -> Option<Observation>,
    ) -> Option<ScoreReport> {
        let id = &self.ids[validator];
        let workers: Vec<_> = draw.assignment(id)?.map(|(worker, _)| worker).collect();
        let assigned: Vec<_> = workers.iter().map(|worker| worker.assigned()).collect();
        let seen = report.observations(&assigned).ok()?;
        let all = workers.iter().zip(assigned).zip(seen).map(|((worker, assigned), seen)| {
            let is_theirs = self.cheats.contains(&worker.node);
            (assigned, if is_theirs { change(seen.unwrap_or_default()) } else { seen })
        });
        let n_stored = draw.storage_assignment(id)?.count();
        let stored: Vec<_> = report.proved(n_stored).ok()?.collect();
        Some(ScoreReport::new(report.epoch, &all.collect::<Vec<_>>(), &stored))
    }

    fn lie(&self, draw: &EpochDraw, validator: usize, report: &ScoreReport) -> Option<ScoreReport> {
        let pings = u8::try_from(self.world.policy.pings).unwrap_or(u8::MAX);
        match self.world.plot {
            Plot::Praise => self.changed(draw, validator, report, |_| {
                Some(Observation {
                    pings_sent: pings,
                    pings_answered: pings,
                    rtt_us: LogScale::encode(1_000),
                    echo_kbit_s: Some(LogScale::encode(MAX_KBIT_S)),
                    group: None,
                })
            }),
            Plot::Smear => self.changed(draw, validator, report, |_| {
                let echo_kbit_s = Some(LogScale::ZERO);
                Some(Observation { pings_sent: pings, echo_kbit_s, ..Observation::default() })
            }),
            Plot::LeaveOut => self.changed(draw, validator, report, |_| None),
            Plot::Exaggerate => self.changed(draw, validator, report, |seen| {
                let most =
                    |kbit_s: LogScale| if kbit_s > LogScale::ZERO { LogScale::encode(MAX_KBIT_S) } else { kbit_s };
                Some(Observation { echo_kbit_s: seen.echo_kbit_s.map(most), ..seen })
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

    /// Whether a validator that has withheld its reports of the settlement's epochs before can withhold this one's too and is paid still.
    fn withholds_for_nothing(&self, epoch: Epoch) -> bool {
        let policy = &self.world.policy;
        let place = epoch.get().saturating_sub(1) % policy.settle_every;
        let reports = |epochs: u64| u32::try_from(epochs).unwrap_or(u32::MAX);
        let duty = Duty { committed: reports(policy.settle_every), forfeited: reports(place + 1), ..Duty::default() };
        !self.world.rules.loses_validation_pay(policy, &duty)
    }

    /// The best contribution to the beacon that a bad proposer can make with the next block, if that leads to a draw: of those that the network
    /// takes, the one that gives the bad validators most seats at the cheat's worker; with these seats.
    fn best_contribution(&self, chain: &Chain, proposer: usize, key: &ValidatorKey) -> Option<(u64, BlsSignature)> {
        let (spec, state) = (chain.spec(), chain.state());
        let leads_to_draw = state.pending().next().is_none();
        if self.world.plot != Plot::ChooseSeeds || !self.is_bad(proposer) || !leads_to_draw {
            return None;
        }
        let (height, proposer) = (state.height().next(), state.next_validators().get(&key.id())?);
        // Those of later heights are as good as any that it could choose among.
        let of = |n| key.bls_key().sign_randao(spec.id(), height.plus(n));
        let is_taken = |randao: &BlsSignature| spec.rules().is_contribution(spec.id(), proposer, height, randao);
        let with_seats = |randao: BlsSignature| {
            let draw = next_draw(state, next_beacon(&state.head().beacon, &randao));
            (bad_seats(self.world, self.ids, self.cheats, &draw), randao)
        };
        (0..CONTRIBUTIONS).map(of).take_while(is_taken).map(with_seats).max_by_key(|(seats, _)| *seats)
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
        let told = self.lie(chain.state().get::<Draws>(&epoch)?, validator, &report);
        self.acts += u64::from(told.as_ref() != Some(&report));
        told
    }

    fn reveal(
        &mut self,
        validator: usize,
        committed: &ScoreReport,
        others: &BTreeMap<usize, ScoreReport>,
    ) -> Option<ScoreReport> {
        if !self.is_bad(validator) {
            return Some(committed.clone());
        }
        let revealed = match self.world.plot {
            Plot::Withhold if committed.epoch.get().is_multiple_of(2) => None,
            Plot::WithholdForNothing if self.withholds_for_nothing(committed.epoch) => None,
            Plot::CopyOthers => others.values().next().or(Some(committed)).cloned(),
            _ => Some(committed.clone()),
        };
        self.acts += u64::from(revealed.as_ref() != Some(committed));
        revealed
    }

    fn includes(&mut self, proposer: usize, validator: usize) -> bool {
        let censors = self.world.plot == Plot::Censor && self.is_bad(proposer) && !self.is_bad(validator);
        self.acts += u64::from(censors);
        !censors
    }

    fn proposes(&mut self, chain: &Chain, proposer: usize, key: &ValidatorKey) -> bool {
        let Some((seats, _)) = self.best_contribution(chain, proposer, key) else { return true };
        let power = |is_counted: &dyn Fn(usize) -> bool| -> u64 {
            let all = self.world.validators.iter().enumerate();
            all.filter(|(i, _)| is_counted(*i)).map(|(_, it)| it.power).sum()
        };
        let (theirs, all) = (power(&|i| self.is_bad(i)), power(&|_| true));
        let proposes = seats * all >= u64::from(self.world.policy.seats) * theirs;
        self.acts += u64::from(!proposes);
        proposes
    }

    fn contribution(&mut self, chain: &Chain, proposer: usize, key: &ValidatorKey) -> Option<BlsSignature> {
        let (_, best) = self.best_contribution(chain, proposer, key)?;
        let own = key.bls_key().sign_randao(chain.spec().id(), chain.state().height().next());
        let is_chosen = best != own;
        self.acts += u64::from(is_chosen);
        is_chosen.then_some(best)
    }
}
