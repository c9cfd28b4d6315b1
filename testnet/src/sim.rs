//! The payout simulation: pools, pushers, signers, owners, thieves and TRON in one deterministic run.
//!
//! Real are the pusher, the signer, the payout tree, the compiled vault and token on the local network's chain, and every
//! transaction and signature. Models are the ledger ([`ledger`]), the node's shell around its pusher ([`node`]), the provider
//! groups ([`provider`]) and everybody who acts on the chain ([`actors`]). A seed and a scenario fix everything that happens:
//! nothing reads a clock or another source of chance, and nothing runs beside it.
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
mod base;
mod books;
pub mod command;
mod describe;
mod ledger;
mod node;
mod plan;
mod provider;
mod random;
mod scenario;
mod stats;
mod trace;
mod treasury;
mod tron;
mod violation;
mod world;

pub use scenario::Scenario;
pub use stats::Stats;
pub use violation::{Rule, Violation};

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

fn run_with(seed: u64, scenario: Scenario, keeps_trace: bool) -> Outcome {
    let mut world = match World::new(seed, scenario, keeps_trace) {
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
    Outcome { trace_hash, stats: world.stats, violation, trace: world.trace.into_lines() }
}

/// A run's part of a range's digest: the digests of two ranges add up (modulo 2^64) to that of both together.
pub const fn digest(seed: u64, outcome: &Outcome) -> u64 {
    random::mix(outcome.trace_hash ^ random::mix(seed))
}
