//! Payouts in simulation (`lucid_testnet::sim`): thousands of faults, the same in every run, and parts that are broken on purpose,
//! which the checks must find. `make simulate` runs many more seeds.

use std::ops::Range;
use std::sync::LazyLock;

use lucid_testnet::sim::{Control, Outcome, Rule, Scenario, Stats, digest, run, run_control, run_traced};
use serde_json::Value;

use crate::harness::{errors, testnet};

/// Seeds of the mixture of everything, and of each family of faults.
const SEEDS_OF_ALL: u64 = 300;
const SEEDS_OF_EACH: u64 = 20;
/// There is more that an evil leader can try.
const SEEDS_OF_EVIL: u64 = 50;
/// Within so many seeds a broken part is found.
const PATIENCE: u64 = 300;

/// Runs of all scenarios without a broken part, for the tests that look at them.
static RUNS: LazyLock<Vec<(Scenario, u64, Outcome)>> = LazyLock::new(|| {
    let seeds = |scenario| match scenario {
        Scenario::All => 0..SEEDS_OF_ALL,
        Scenario::Evil => 0..SEEDS_OF_EVIL,
        _ => 0..SEEDS_OF_EACH,
    };
    let of = |scenario| seeds(scenario).map(move |seed| (scenario, seed, run(seed, scenario)));
    Scenario::SOUND.into_iter().flat_map(of).collect()
});

/// Fails with what happened if a rule was broken.
fn check(scenario: Scenario, seed: u64, outcome: &Outcome) {
    if let Some(violation) = &outcome.violation {
        let trace = run_traced(seed, scenario).trace;
        let last = trace.len().saturating_sub(60);
        let name = scenario.name();
        panic!(
            "scenario {name}, seed {seed}: {violation}\nthe last of {} lines of --trace:\n{}",
            trace.len(),
            trace[last..].join("\n")
        );
    }
}

#[test]
fn invariant_nobody_is_paid_twice_and_everybody_in_the_end() {
    let runs = RUNS.iter().filter(|(scenario, ..)| *scenario == Scenario::All);
    runs.for_each(|(scenario, seed, outcome)| check(*scenario, *seed, outcome));
}

#[test]
fn invariant_no_family_of_faults_costs_anybody_anything() {
    let runs = RUNS.iter().filter(|(scenario, ..)| *scenario != Scenario::All);
    runs.for_each(|(scenario, seed, outcome)| check(*scenario, *seed, outcome));
}

/// Named as the report names them. A fault that never happens tests nothing.
const HAPPENS: &[&str] = &[
    // Providers and network.
    "fault: a request is lost",
    "fault: an answer is lost",
    "fault: an answer comes twice",
    "fault: a provider gives no answer",
    "fault: a provider is behind",
    "fault: a provider is busy",
    "fault: a transaction is dropped",
    "fault: a transaction is accepted, then the request times out",
    "broadcast: Duplicate",
    "lie: Broadcast",
    "lie: Estimate",
    "lie: PaidLess",
    "lie: PaidMore",
    "lie: Price",
    "lie: Receipt",
    "lie: Time",
    "lie: Vault",
    "fault: a fork",
    "fault: a deep fork",
    "action: Stall",
    // Money.
    "a pusher: OutOfEnergy",
    "fault: energy costs ten times as much",
    "action: EnergyFactor",
    "the token is paused: Success",
    "the token takes a fee: Success",
    "the vault is frozen: Success",
    "told: Token",
    "told: Paused",
    "told: OverCap",
    "told: Uncovered",
    "alert: GasShort",
    "alert: DayBudget",
    "skipped: BadRecipient",
    "skipped: TokenRefused",
    "skipped: NoFunds",
    "skipped: OverCap",
    // Nodes.
    "action: NodeDown",
    "crash before: RequestSignature",
    "crash before: LoadLeaves",
    "crash before: ReadVault",
    "crash before: Estimate",
    "crash before: Prepare",
    "crash before: Broadcast",
    "crash before: ReadReceipt",
    "crash before: Forget",
    "crash before: Report(Posted)",
    "crash before: Report(Transaction)",
    "crash before: Report(Finished)",
    "crash after: Signature",
    "crash after: Leaves",
    "crash after: Head(None)",
    "crash after: Solid(None)",
    "crash after: Estimated",
    "crash after: Prepared",
    "crash after: Sent",
    "crash after: Receipt",
    "pushed by: the leader",
    "pushed by: a successor",
    "pushed by: a stranger",
    // Races and claims.
    "a pusher: NothingPaid(AlreadyPaid)",
    "a pusher: Stale",
    "a stranger pushes: Success",
    "a worker claims: Success",
    "a worker claims: NothingPaid(AlreadyPaid)",
    // The vault and the ledger.
    "a signer pauses: Success",
    "the owner pauses: Success",
    "the owner changes signers or limits: Success",
    "action: Losses",
    "action: Address",
    // A leader that does what it likes, and signers.
    "evil leader: another recipient",
    "evil leader: another amount",
    "evil leader: another order",
    "evil leader: a batch of 50 with a bad item",
    "evil leader: the same leaf three times",
    "evil leader: an older root's range",
    "evil leader: an older root",
    "villain: a root that a signer signed twice",
    "villain: a root with both forms of a signature",
    "villain: a root with too few signatures",
    "villain: what only others can do",
    "fault: all signers that may be evil sign the villain's root",
    "evil signer: answers",
    "told another root: signs",
    "told another root: refuses",
    "fault: a signer's memory is set back",
    "signer refuses: AnotherRoot",
    "signer refuses: RolledBack",
    "thieves post a root: Success",
    "thieves take: Success",
];

#[test]
fn every_fault_and_attack_happens() {
    let seen = RUNS.iter().fold(Stats::default(), |sum, (_, _, outcome)| sum.and(&outcome.stats)).seen;
    let missing: Vec<_> = HAPPENS.iter().filter(|name| seen.get(name) == 0).collect();
    assert!(missing.is_empty(), "{missing:#?} never happened; what did: {seen:#?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..8 {
        let (once, again, traced) =
            (run(seed, Scenario::All), run(seed, Scenario::All), run_traced(seed, Scenario::All));
        assert_eq!(once, again, "seed {seed}");
        assert_eq!((once.trace_hash, once.stats), (traced.trace_hash, traced.stats), "seed {seed}");
        assert_ne!(once.trace_hash, run(seed + 1, Scenario::All).trace_hash, "seed {seed}");
    }
}

#[test]
fn ranges_add_up_and_are_the_same_in_every_process() {
    // Digest and statistics of the command, which runs the seeds in an order of its own.
    let command = |seeds: &str, jobs: &str| {
        let output = testnet(&["simulate", "--json", "--seeds", seeds, "--jobs", jobs]);
        assert!(output.status.success(), "{}", errors(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (u64::from_str_radix(report["digest"].as_str().unwrap(), 16).unwrap(), report["stats"].clone())
    };
    let here = |seeds: Range<u64>| {
        seeds.fold((0, Stats::default()), |(sum, stats), seed| {
            let outcome = run(seed, Scenario::All);
            (digest(seed, &outcome).wrapping_add(sum), stats.and(&outcome.stats))
        })
    };
    let (first, second) = (here(0..5), here(5..12));
    let both = (first.0.wrapping_add(second.0), serde_json::to_value(first.1.and(&second.1)).unwrap());
    assert_eq!(command("0..12", "2"), both);
    assert_eq!(command("0..12", "1"), both);
    assert_ne!(digest(0, &run(0, Scenario::All)), digest(1, &run(0, Scenario::All)), "a seed is no other");
}

// ---- what is broken is found ---------------------------------------------------------------------------------------

/// The rules that seeds which find something say are broken. The same seeds find nothing when nothing is broken.
fn findings(scenario: Scenario, variant: Option<&str>) -> impl Iterator<Item = Rule> {
    (0..PATIENCE).filter_map(move |seed| {
        let Control { broken, sound } = run_control(seed, scenario, variant).unwrap();
        assert_eq!(sound.violation, None, "scenario {}, seed {seed}, nothing broken", scenario.name());
        broken.violation.map(|violation| violation.rule)
    })
}

/// What the first seed finds that finds anything.
fn found(scenario: Scenario, variant: Option<&str>) -> Option<Rule> {
    findings(scenario, variant).next()
}

#[test]
fn a_vault_that_forgets_what_it_paid_is_found() {
    assert_eq!(found(Scenario::ForgetfulVault, None), Some(Rule::Owed));
}

#[test]
fn pushers_that_believe_their_own_records_are_found() {
    let rule = found(Scenario::OwnRecords, None);
    assert!(matches!(rule, Some(Rule::Liveness | Rule::Rest)), "{rule:?}");
}

#[test]
fn signers_without_a_watermark_are_found() {
    assert_eq!(found(Scenario::NoWatermark, None), Some(Rule::Root));
}

#[test]
fn belief_in_one_provider_is_found() {
    assert_eq!(found(Scenario::OneProvider, None), Some(Rule::Liveness));
}

#[test]
fn a_vault_that_counts_a_signer_twice_is_found() {
    assert_eq!(found(Scenario::Evil, Some("counts a signer twice")), Some(Rule::Root));
}

#[test]
fn a_vault_that_pays_any_range_is_found() {
    // It pays whatever the villain writes into a leaf: another recipient, or more than is owed. Each has to be found, and which
    // one a seed finds first depends on what its villain tries first.
    let mut harms = vec![Rule::Recipient, Rule::Owed];
    for rule in findings(Scenario::Evil, Some("pays any range")) {
        assert!(matches!(rule, Rule::Recipient | Rule::Owed), "{rule:?}");
        harms.retain(|harm| *harm != rule);
        if harms.is_empty() {
            return;
        }
    }
    panic!("not found: {harms:?}");
}

#[test]
fn other_broken_vaults_are_found() {
    for (variant, scenario, rule) in [
        ("ignores the cap", Scenario::Money, Rule::Cap),
        ("ignores the signed total", Scenario::Theft, Rule::Total),
        // The fees have taken what the total left for accounts.
        ("pays fees beyond the allowance", Scenario::Races, Rule::Claim),
    ] {
        assert_eq!(found(scenario, Some(variant)), Some(rule), "a vault that {variant}");
    }
}
