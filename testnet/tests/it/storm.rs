//! A storm of SIGKILLs over all nodes and the local TRON network. In the end nobody has forked, and everybody has got exactly what
//! the ledger owes him.
//!
//! `make test` runs a short one, `make storm` one of a minute. The seed chooses whom it hits and when; what the processes were
//! doing at that moment is the machine's chance, so a seed does not repeat a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lucid_testnet::process::last_lines;
use lucid_types::amount::MicroUsdt;

use crate::books::Books;
use crate::harness::Network;

const EPOCH_S: u64 = 2;
/// Of a storm, unless the environment says otherwise.
const SECONDS: u64 = 12;
/// Epochs before it, in which the workers come in.
const START: u64 = 4;
/// Epochs after it.
const CALM: u64 = 3;
/// Payments below this are not due.
const THRESHOLD: MicroUsdt = MicroUsdt::new(1_000_000);

/// What an environment variable says.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} = {text:?} is no number")))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

/// The processes of a network, and those that are down with the time at which each comes back.
struct Storm<'a> {
    net: &'a Network,
    random: Random,
    names: Vec<String>,
    down: BTreeMap<usize, Instant>,
    /// How often each was hit.
    hits: Vec<u64>,
}

impl Storm<'_> {
    fn run(&mut self, until: Instant) {
        let mut next_strike = Instant::now();
        while Instant::now() < until {
            if Instant::now() >= next_strike {
                self.strike();
                next_strike = Instant::now() + self.random.millis(250, 1_500);
            }
            self.restart(|back| back <= Instant::now());
            let next = self.down.values().min().map_or(next_strike, |back| next_strike.min(*back)).min(until);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        self.restart(|_| true);
    }

    /// Mostly one process; sometimes all validators, or everything there is.
    fn strike(&mut self) {
        let all = 0..self.names.len();
        let chosen: Vec<_> = match self.random.below(24) {
            0 => all.collect(),
            1 => all.filter(|i| self.names[*i].starts_with("validator")).collect(),
            _ => vec![usize::try_from(self.random.below(all.end as u64)).unwrap()],
        };
        let chosen: Vec<_> = chosen.into_iter().filter(|i| !self.down.contains_key(i)).collect();
        self.net.kill(&chosen.iter().map(|i| self.names[*i].as_str()).collect::<Vec<_>>());
        for i in chosen {
            self.hits[i] += 1;
            self.down.insert(i, Instant::now() + self.random.millis(0, 800));
        }
    }

    fn restart(&mut self, is_due: impl Fn(Instant) -> bool) {
        let due: Vec<_> = self.down.iter().filter(|(_, back)| is_due(**back)).map(|(i, _)| *i).collect();
        for i in due {
            self.net.start_again(&[&self.names[i]]);
            self.down.remove(&i);
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "what to run again, in the output of a failure or with --nocapture")]
fn a_storm_of_kills_makes_no_fork_and_loses_no_payment() {
    let seconds = number("LUCID_STORM_SECONDS").unwrap_or(SECONDS);
    let seed = number("LUCID_STORM_SEED").unwrap_or_else(|| std::process::id().into());
    println!("storm of {seconds} s: make storm SEED={seed} STORM_SECONDS={seconds}");
    let epochs = (START + seconds.div_ceil(EPOCH_S) + CALM).next_multiple_of(2);
    let mut net = Network::up(&["--workers", "3", "--epoch-length", "2s", "--epochs", &epochs.to_string()]);
    net.ready();
    let pool = net.pool_id();
    let names: Vec<_> = net.names().into_iter().chain(["tron".to_owned()]).collect();
    let hits = vec![0; names.len()];
    let mut storm = Storm { net: &net, random: Random(seed), names, down: BTreeMap::new(), hits };
    let height = || net.names().iter().filter_map(|name| net.status_number(name, "height")).max().unwrap_or(0);
    storm.run(Instant::now() + Duration::from_secs(seconds));
    let hits: BTreeMap<_, _> = storm.names.iter().zip(&storm.hits).collect();
    let meanwhile = height();
    println!("killed {} times: {hits:?}, {meanwhile} blocks meanwhile", storm.hits.iter().sum::<u64>());

    // Everybody comes back, and the chain goes on.
    let epoch = net.names().iter().filter_map(|name| net.status_number(name, "final_epoch")).max().unwrap_or(0);
    net.names().iter().for_each(|name| net.node_final_through(name, epoch + 2));
    let blocks = net.agreed_blocks();
    println!("{} blocks are the same everywhere", blocks.len());
    assert!(blocks.len() as u64 > meanwhile);
    // Only signals ended anybody.
    for name in net.names() {
        let log = net.home(&name).join("node.log");
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(!text.contains("lucid: ") && !text.contains("panicked"), "{name}:\n{}", last_lines(&log, 50));
    }
    let ledger = net.ledger(&pool, epochs / 2);
    net.line("the end", |line| line.contains("stopped    "));
    let books = Books::read(&net.dir(), &ledger);
    net.succeeded();
    books.check_but(THRESHOLD);
}
