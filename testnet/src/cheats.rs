//! Cheating must not pay: attacks on the measurements, each with what it earns and what honesty would have earned on the same machines.
//!
//! Real are the prober's core, scores, ledger, and settlements. Modelled are machines and links, and what validators do beside measuring.
//! Everything runs in virtual time and follows from the row's seed. Each [`Row`] runs three times: honestly, with its attack, and with its
//! attack against a network without the defence, which must change the figure: a defence whose absence changes nothing is none. What cheats do
//! is counted, since an attack that does nothing would pass for one that is prevented.
//!
//! `docs/src/cheating.md` holds the table; [`command`] compares it.

mod chunks;
pub mod command;
mod conduct;
mod prober;
mod rows;
mod rules;
mod run;
mod table;
mod world;

use lucid_types::amount::Ppm;
use serde::Serialize;

pub use self::rows::rows;
use self::run::{Outcome, run};
use self::world::World;

/// Which of a row's simulations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Nobody cheats.
    Honest,
    /// The attack.
    Attack,
    /// The attack, without the defence.
    Undefended,
}

/// What a row compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// Micro-USDT that the workers on one machine earn in a settlement.
    Earned,
    /// The same of all settlements, for each epoch in which the first of these workers was measured.
    EarnedAnEpoch,
    /// Settlements at whose end the cheat's first worker may lead its pool.
    Eligible,
    /// Micro-USDT that validators earn in a settlement for validating.
    Validating,
    /// Seats that validators hold at a worker, in all epochs.
    Seats,
    /// Epochs of workers that were measured.
    Measured,
    /// Credits that the cheat's machine earned for storage in a settlement.
    StorageCredits,
}

impl Figure {
    fn of(self, outcome: &Outcome) -> u64 {
        match self {
            Self::Earned => outcome.earned / outcome.settlements.max(1),
            Self::EarnedAnEpoch => outcome.earned / outcome.own_epochs.max(1),
            Self::Eligible => outcome.eligible,
            Self::Validating => outcome.validating / outcome.settlements.max(1),
            Self::Seats => outcome.seats,
            Self::Measured => outcome.measured,
            Self::StorageCredits => outcome.storage_credits / outcome.settlements.max(1),
        }
    }

    /// What it is counted in.
    const fn unit(self) -> &'static str {
        match self {
            Self::Earned | Self::Validating => "micro-USDT a settlement",
            Self::EarnedAnEpoch => "micro-USDT an epoch that was measured",
            Self::Eligible => "settlements",
            Self::Seats => "seats",
            Self::Measured => "epochs of a worker",
            Self::StorageCredits => "credits a settlement",
        }
    }
}

/// What must hold of the attack's figure, in parts per million of the honest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    AtMost(u64, &'static str),
    /// The figure is a victim's.
    AtLeast(u64, &'static str),
}

/// Whether an attack is prevented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Prevented {
    /// It does not pay.
    Yes,
    /// It pays within a bound, or in another form.
    Partly,
    /// It pays.
    No,
}

/// An attack.
pub struct Row {
    /// By which it is asked for.
    pub name: &'static str,
    /// What is tried.
    pub attack: &'static str,
    /// What stands against it.
    defence: Option<&'static str>,
    /// Of all chance in it.
    pub seed: u64,
    figure: Figure,
    bound: Bound,
    /// Whether it pays.
    pub prevented: Prevented,
    /// What has to be said of it beside the numbers.
    says: &'static str,
    world: fn(Side) -> World,
}

/// What a row's simulations came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The row's.
    pub name: &'static str,
    /// The row's.
    pub seed: u64,
    /// The row's.
    pub attack: &'static str,
    /// The row's.
    pub defence: Option<&'static str>,
    /// What the figures are.
    pub unit: &'static str,
    /// With the attack.
    pub earned: u64,
    /// Without.
    pub honest: u64,
    /// The former as part of the latter.
    pub ratio_ppm: u64,
    /// What that is at most, or at least.
    pub bound_ppm: u64,
    /// Why.
    pub bound_why: &'static str,
    /// Whether the bound is a lower one: the figure is a victim's.
    pub is_harm: bool,
    /// Whether it is within the bound.
    pub holds: bool,
    /// With the attack and without the defence, where there is one.
    pub undefended: Option<u64>,
    /// The same as part of the honest figure.
    pub undefended_ppm: Option<u64>,
    /// Whether the attack gets more without the defence, by at least a hundredth.
    pub changes: bool,
    /// How often somebody did with the attack what nobody honest would do.
    pub acts: u64,
    /// Whether that is any attack at all: nobody did so in the honest simulation, somebody without the defence, and with it as well, unless it
    /// leaves the cheat nothing to do, and then the figure is the honest one.
    pub acted: bool,
    /// The row's.
    pub prevented: Prevented,
    /// The row's.
    pub says: &'static str,
    /// How much of a bad validator's reports says what another one said an epoch before.
    pub repeated_ppm: u32,
}

impl Row {
    /// Runs its simulations.
    pub fn run(&self) -> Found {
        let of = |side| run(&(self.world)(side), self.seed);
        let (honest, attack) = (of(Side::Honest), of(Side::Attack));
        let without = self.defence.map(|_| of(Side::Undefended));
        let undefended = without.as_ref().map(|it| self.figure.of(it));
        let (earned, before) = (self.figure.of(&attack), self.figure.of(&honest));
        let acts_without = without.map(|it| it.acts);
        let is_shut_out = attack.acts == 0 && earned == before && acts_without.is_some();
        let has_acted = (attack.acts > 0 || is_shut_out) && acts_without != Some(0);
        let one = u64::from(Ppm::ONE.get());
        let ratio = |value: u64| value.saturating_mul(one).checked_div(before).unwrap_or(u64::MAX);
        let (bound_ppm, bound_why, is_harm) = match self.bound {
            Bound::AtMost(ppm, why) => (ppm, why, false),
            Bound::AtLeast(ppm, why) => (ppm, why, true),
        };
        let ratio_ppm = ratio(earned);
        let keeps = |undefended: u64| {
            let (more, less) = if is_harm { (ratio_ppm, undefended) } else { (undefended, ratio_ppm) };
            more.saturating_sub(less) > more / 100
        };
        let undefended_ppm = undefended.map(ratio);
        Found {
            name: self.name,
            seed: self.seed,
            attack: self.attack,
            defence: self.defence,
            unit: self.figure.unit(),
            earned,
            honest: before,
            ratio_ppm,
            bound_ppm,
            bound_why,
            is_harm,
            holds: if is_harm { ratio_ppm >= bound_ppm } else { ratio_ppm <= bound_ppm },
            undefended,
            undefended_ppm,
            changes: undefended_ppm.is_none_or(keeps),
            acts: attack.acts,
            acted: has_acted && honest.acts == 0,
            prevented: self.prevented,
            says: self.says,
            repeated_ppm: attack.repeated.get(),
        }
    }
}

#[cfg(test)]
mod tests;
