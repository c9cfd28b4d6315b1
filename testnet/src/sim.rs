//! The payout simulation: pools, pushers, signers, owners, thieves and TRON in one deterministic run.
//!
//! Real are the pusher, the signer, the payout tree, the compiled vault and token on the local network's chain, and every
//! transaction and signature. Models are the ledger ([`ledger`]), the node's shell around its pusher ([`node`], [`shell`]), the
//! provider groups ([`provider`]) and everybody else who acts on the chain ([`actors`], [`theft`], [`villain`]). A seed and a
//! scenario fix everything that happens: nothing reads a clock or another source of chance, and nothing runs beside it.
//!
//! ```text
//!   settlements ---> nodes: pusher + disk <-- answers -- provider groups <-- views -- chain + vault + token
//!        |                 |                                  |                              ^
//!        +--> signers <----+--- effects: late, lost, doubled -+---- transactions ------------+-- owner, villain, workers
//! ```
//!
//! A run has faults for some minutes of its own time. Then they end, and everything due must be paid within two hours. What is
//! checked after every block and at the end is listed in [`Rule`].

mod actors;
mod alarm;
mod base;
mod books;
pub mod command;
mod describe;
mod end;
mod ledger;
mod node;
mod plan;
mod provider;
mod random;
mod scenario;
mod shell;
mod stats;
mod theft;
mod trace;
mod treasury;
mod tron;
mod villain;
mod violation;
mod world;

pub use scenario::Scenario;
pub use stats::{Coverage, Stats};
pub use violation::{Rule, Violation};

use plan::{Defect, Plan};
use random::Random;
use trace::Trace;
use world::World;

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A hash of everything that happened.
    pub trace_hash: u64,
    /// Figures.
    pub stats: Stats,
    /// The rule that was broken.
    pub violation: Option<Violation>,
    /// What happened, line by line: seconds since the beginning, then who did what. Empty unless it was asked for.
    pub trace: Vec<String>,
}

/// Runs a scenario with a seed. The same two give the same outcome.
pub fn run(seed: u64, scenario: Scenario) -> Outcome {
    run_with(seed, scenario, false)
}

/// As [`run`], and keeps the trace.
pub fn run_traced(seed: u64, scenario: Scenario) -> Outcome {
    run_with(seed, scenario, true)
}

/// A negative control: the same run with a broken part and without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// With the part broken: the checks must find something in one of some seeds.
    pub broken: Outcome,
    /// With every part as it should be.
    pub sound: Outcome,
}

/// Runs a scenario with its broken part, or with a variant of the vault that leaves a rule out, by its name in
/// `tron-bridge/contracts/variants.json`; and the same without. `None` if there is no such variant, or nothing is broken.
pub fn run_control(seed: u64, scenario: Scenario, variant: Option<&str>) -> Option<Control> {
    let defect = match variant {
        Some(variant) => Defect::Vault(base::variant(variant)?),
        None => scenario.defect()?,
    };
    let of = |plan, random| run_plan(plan, random, false);
    let mut random = Random::new(seed);
    let plan = Plan::draw(scenario, Some(defect), &mut random);
    Some(Control { sound: of(plan.clone().mended(), random.clone()), broken: of(plan, random) })
}

fn run_with(seed: u64, scenario: Scenario, keeps_trace: bool) -> Outcome {
    let mut random = Random::new(seed);
    let plan = Plan::draw(scenario, scenario.defect(), &mut random);
    run_plan(plan, random, keeps_trace)
}

fn run_plan(plan: Plan, random: Random, keeps_trace: bool) -> Outcome {
    let mut world = match World::new(plan, random, keeps_trace) {
        Ok(world) => world,
        Err(violation) => {
            let trace_hash = Trace::new(false).hash();
            return Outcome { trace_hash, stats: Stats::default(), violation: Some(violation), trace: Vec::new() };
        }
    };
    let violation = world.run().err();
    if let Some(violation) = &violation {
        world.note(format_args!("broken: {violation}"));
    }
    let trace_hash = world.trace.hash();
    world.stats.seen.merge(&world.treasury.seen);
    Outcome { trace_hash, stats: world.stats, violation, trace: world.trace.into_lines() }
}

/// A run's part of a range's digest: the digests of two ranges add up (modulo 2^64) to that of both together.
pub const fn digest(seed: u64, outcome: &Outcome) -> u64 {
    random::mix(outcome.trace_hash ^ random::mix(seed))
}
