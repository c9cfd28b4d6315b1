//! What the validators of a world measure: anything that passes.

use lucid_consensus::ledger::state::Rows;
use lucid_consensus::ledger::table::Draws;
use lucid_consensus::replica::Input;
use lucid_types::id::NodeId;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::report::{AssignedWorker, Observation, ScoreReport};
use lucid_types::time::Epoch;

use super::World;

impl World {
    /// What the prober hands over for each closed epoch. A process that was not there has seen nothing.
    pub(super) fn report(&mut self, node: usize) {
        let Some(replica) = self.nodes[node].replica.as_ref().filter(|_| self.reports) else { return };
        // Whoever has become a validator since the draw has no part in it.
        let assigned = |epoch: Epoch| -> Option<Assigned> {
            let draw = replica.state().get::<Draws>(&epoch).unwrap();
            let me = replica.keys().reporter(replica.state(), epoch)?.id();
            let workers = draw.assignment(&me)?.map(|(it, _)| (it.node, it.assigned())).collect();
            let quotas = draw.storage_assignment(&me)?.map(|(it, _)| it.quota).collect();
            let pings = u8::try_from(replica.state().policy(epoch).pings).unwrap();
            Some(Assigned { epoch, pings, workers, quotas })
        };
        let epochs: Vec<_> = replica.epochs_to_report().into_iter().filter_map(assigned).collect();
        for assigned in epochs {
            let it = &mut self.nodes[node];
            let is_first_run = it.reported.insert(assigned.epoch);
            let report = self.measurements(&assigned, is_first_run);
            let mut salt = [0; 32];
            salt.fill_with(|| u8::try_from(self.random(256)).unwrap());
            self.input(node, Input::Report { report, salt });
        }
    }

    fn measurements(&mut self, assigned: &Assigned, has_measured: bool) -> ScoreReport {
        let Assigned { epoch, pings, workers, quotas } = assigned;
        let mut observe = |(worker, it): &(NodeId, AssignedWorker)| {
            let answered = u8::try_from(self.random(u64::from(*pings) + 1)).unwrap();
            let verified = self.random(2);
            // One in eight sees it nowhere.
            let group = if self.random(8) == 0 { NetworkGroup::NONE } else { group_of(worker, *epoch) };
            let observation = Observation {
                pings_sent: *pings,
                pings_answered: answered,
                rtt_us: LogScale::encode(if answered > 0 { 500 + u64::from(answered) } else { 0 }),
                echo_kbit_s: Some(LogScale::encode(verified * 80_000)),
                group: Some(group),
            };
            (*it, has_measured.then_some(observation))
        };
        let seen: Vec<_> = workers.iter().map(&mut observe).collect();
        let mut prove = |quota: &u16| {
            let proved = u16::try_from(self.random(u64::from(*quota) + 1)).unwrap();
            has_measured.then_some(proved)
        };
        let stored: Vec<_> = quotas.iter().map(&mut prove).collect();
        ScoreReport::new(*epoch, &seen, &stored)
    }
}

/// What a validator is to measure in an epoch.
struct Assigned {
    epoch: Epoch,
    pings: u8,
    workers: Vec<(NodeId, AssignedWorker)>,
    /// Chunks of each storage seat with the workers of whom it holds some.
    quotas: Vec<u16>,
}

/// Where a worker is in an epoch: at one of two places, at the same for four epochs.
fn group_of(worker: &NodeId, epoch: Epoch) -> NetworkGroup {
    let place = (u64::from(worker.as_bytes()[0]) + epoch.get() / 4) % 2;
    NetworkGroup::from_bytes([0, 0, 9, 9, 9, u8::from(place == 0)])
}
