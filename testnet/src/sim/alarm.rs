//! What pushers tell their operators: nothing without a reason, and everything that stands in the way of payments.

use std::collections::BTreeMap;

use lucid_tron_bridge::pusher::{Alert, Phase};
use lucid_types::amount::MicroUsdt;

use super::plan::Plan;
use super::scenario::Families;
use super::violation::{Rule, Violation};
use super::world::World;

/// How long an obstacle may last until a pusher that is at work tells of it. The node reads the token's flags twice a minute,
/// at the solidified block.
const TELL_MS: u64 = 75_000;

/// Something that stands in the way of payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Obstacle {
    Token,
    Paused,
    SignersDiffer,
    ForeignRoot,
    OverCap,
    Uncovered,
}

impl Obstacle {
    const fn is_told_by(self, alert: &Alert) -> bool {
        matches!(
            (self, alert),
            (Self::Token, Alert::Token(_))
                | (Self::Paused, Alert::Paused { .. })
                | (Self::SignersDiffer, Alert::SignersDiffer { .. })
                | (Self::ForeignRoot, Alert::ForeignRoot { .. })
                | (Self::OverCap, Alert::OverCap { .. })
                | (Self::Uncovered, Alert::Uncovered { .. })
        )
    }
}

/// Since when obstacles last, and since when nodes have been at work.
#[derive(Debug, Default)]
pub(super) struct Watch {
    obstacles: BTreeMap<Obstacle, u64>,
    /// By node, its life, and the newest state of the ledger: another root is looked at anew.
    active: BTreeMap<(usize, u64, usize), u64>,
    /// When nodes in one life told of obstacles last: between two blocks the vault can be as it should, until a fork drops what
    /// mended it.
    told: BTreeMap<(usize, u64, Obstacle), u64>,
}

impl Plan {
    /// Whether anything that can happen in this run is a reason for the alert.
    fn can_cause(&self, alert: &Alert) -> bool {
        let Families { network, providers, forks, money, stops, evil, changes, theft, .. } = self.families;
        self.defect.is_some()
            || match alert {
                Alert::SignersDiffer { .. } | Alert::SignaturesRefused { .. } => changes || theft || providers,
                Alert::Signer { .. } => evil || changes || theft,
                Alert::ForeignRoot { .. } | Alert::OverTotal { .. } => theft || providers,
                Alert::Token(_)
                | Alert::GasShort { .. }
                | Alert::DayBudget { .. }
                | Alert::SetAside { .. }
                | Alert::TooDear { .. } => money || providers,
                Alert::Paused { .. } => stops || evil || theft || providers,
                Alert::Closed => providers,
                Alert::OverCap { .. } => self.is_tight() || changes || providers,
                // A fork can drop the transfer that filled the vault.
                Alert::Uncovered { .. } => money || theft || providers || forks,
                Alert::Rejected { .. } => network || providers || forks || money,
                // Who loses a race fails, and so does whoever is late.
                Alert::Failing { .. } => !self.is_calm(),
            }
    }

    /// Answers get through and are true, so that pushers know what there is to know.
    fn is_well_informed(&self) -> bool {
        !self.families.network && !self.families.providers && self.defect.is_none()
    }
}

impl World {
    /// A pusher tells its operator something.
    pub(super) fn check_alert(&self, alert: &Alert) -> Result<(), Violation> {
        if self.plan.can_cause(alert) { Ok(()) } else { Err(Rule::FalseAlarm.broken(alert.to_string())) }
    }

    /// After a block: what stands in the way of payments for long is told by every pusher that is at work.
    pub(super) fn check_is_told(&mut self) -> Result<(), Violation> {
        if !self.plan.is_well_informed() {
            return Ok(());
        }
        let (now, obstacles) = (self.now, self.obstacles());
        self.watch.obstacles.retain(|obstacle, _| obstacles.contains(obstacle));
        for obstacle in obstacles {
            self.watch.obstacles.entry(obstacle).or_insert(now);
        }
        let newest = self.ledger.newest();
        let is_at_work = |node: &super::node::Node| {
            node.is_up && node.known == newest && matches!(node.pusher.phase(), Phase::Active)
        };
        let active: Vec<_> = self.nodes.iter().enumerate().filter(|(_, node)| is_at_work(node)).collect();
        let lives: Vec<_> = active.iter().map(|(n, node)| (*n, node.life, newest)).collect();
        self.watch.active.retain(|life, _| lives.contains(life));
        for life in lives {
            self.watch.active.entry(life).or_insert(now);
        }
        let watch = &mut self.watch;
        for (obstacle, since) in &watch.obstacles {
            for (n, node) in &active {
                let key = (*n, node.life, *obstacle);
                if node.pusher.alerts().iter().any(|alert| obstacle.is_told_by(alert)) {
                    watch.told.insert(key, now);
                    self.stats.seen.count_variant("told", obstacle);
                    continue;
                }
                let told = watch.told.get(&key).copied().unwrap_or_default();
                let at_work_since = watch.active.get(&(*n, node.life, newest)).copied().unwrap_or(now);
                if now >= TELL_MS + at_work_since.max(*since).max(told) {
                    let alerts = node.pusher.alerts();
                    return Err(Rule::Silence.broken(format!("node {n} does not tell of {obstacle:?}: {alerts:?}")));
                }
            }
        }
        Ok(())
    }

    /// What stands in the way of payments, at the head and at the solidified block.
    fn obstacles(&self) -> Vec<Obstacle> {
        let (head, solid) = (self.tron.head(), self.tron.solid(0));
        let (shown, vault, ledger) = (head.state.vault(), solid.state.vault(), self.ledger.current());
        let token = solid.state.token;
        let mut found = Vec::new();
        if token.paused || token.fee || token.deprecated || token.blacklisted {
            found.push(Obstacle::Token);
        }
        if shown.is_paused(head.reference.time.get() / 1_000) {
            found.push(Obstacle::Paused);
        }
        if (shown.era, shown.nonce) != (ledger.signers.era, ledger.nonce) {
            found.push(Obstacle::SignersDiffer);
        }
        let Some(root) = vault.root else { return found };
        let Some(issued) = self.ledger.issued(vault.settlement, &root) else {
            if vault.era == ledger.signers.era {
                found.push(Obstacle::ForeignRoot);
            }
            return found;
        };
        // The head decides which leaves a pusher knows.
        if shown.root != Some(root) {
            return found;
        }
        let due = issued.leaves.iter().fold(0, |sum, leaf| {
            let paid = solid.state.paid.get(&leaf.id).map_or(0, |paid| paid.get());
            let requested = issued.requested.get(&leaf.id).map_or(0, |requested| requested.get());
            sum + if paid < requested { leaf.owed.get() - paid } else { 0 }
        });
        let due = MicroUsdt::new(due);
        if due > vault.left_of_cap(solid.reference.time.get() / 1_000) {
            found.push(Obstacle::OverCap);
        }
        if due > vault.funds {
            found.push(Obstacle::Uncovered);
        }
        found
    }

    /// Who rests has nothing to tell.
    pub(super) fn check_is_quiet(&self) -> Result<(), Violation> {
        let resting =
            self.nodes.iter().enumerate().filter(|(_, node)| node.is_up && node.pusher.phase() == Phase::Idle);
        for (n, node) in resting {
            if let Some(alert) = node.pusher.alerts().first() {
                return Err(Rule::FalseAlarm.broken(format!("node {n} rests, and still tells: {alert}")));
            }
        }
        Ok(())
    }
}
