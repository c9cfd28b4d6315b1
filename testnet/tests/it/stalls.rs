//! One network that loses all its validators, then two of four, then what it measures, and goes on each time.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Network, errors, lucid, now_ms, until};

const EPOCH_MS: u64 = 3_000;
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
const VALIDATORS: [&str; 4] = ["validator-1", "validator-2", "validator-3", "validator-4"];
/// Without these two nothing is decided.
const TWO: [&str; 2] = ["validator-3", "validator-4"];
/// How long before an epoch's end two are stopped.
const BEFORE_MS: u64 = 200;
/// Epochs without measurements.
const UNMEASURED: u64 = 5;

#[test]
fn the_chain_goes_on_after_losing_all_validators_two_of_four_and_its_measurements() {
    let mut net = Network::up(&["--workers", "2", "--epoch-length", "3s"]);
    net.ready();
    all_validators_at_once(&net);
    two_of_four(&net);
    measured_again(&net);
    five_epochs_unmeasured(&net);
    let decided = net.agreed_blocks().len();
    assert!(decided > 0);
    net.command(&["down"]);
    net.succeeded();
}

/// What was decided stays decided, and the same validators go on from their disks.
fn all_validators_at_once(net: &Network) {
    net.node_final_through("worker-1", 1);
    // Workers vote for nothing, so one of them is a witness.
    let before = net.blocks("worker-1");
    net.kill(&VALIDATORS);
    net.start_again(&VALIDATORS);
    let epoch = net.status_number("worker-1", "final_epoch").unwrap();
    net.names().iter().for_each(|name| net.node_final_through(name, epoch + 1));
    let after = net.agreed_blocks();
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old["block_hash"], new["block_hash"], "at height {}", old["height"]);
    }
    assert!(after.len() > before.len());
}

fn two_of_four(net: &Network) {
    net.kill(&TWO);
    let epoch = || net.status_number("validator-1", "epoch");
    let ends = |n: u64| {
        let next = epoch().unwrap() + n;
        until("the clock's epochs", || (epoch()? >= next).then_some(()));
    };
    // A block that was being decided at that moment may still appear.
    ends(1);
    let alive: Vec<_> = net.names().into_iter().filter(|name| !TWO.contains(&name.as_str())).collect();
    let held = || {
        let of = |name: &String| ["height", "final_epoch"].map(|key| net.status_number(name, key).unwrap());
        alive.iter().map(of).collect::<Vec<_>>()
    };
    let before = held();
    // Two more reasons for a block, and in each epoch time for a dozen of them.
    ends(2);
    assert_eq!(held(), before);
    until("nodes that say so", || {
        let stalled = |name: &String| net.get(name, "/api/v1/status")["sync"] == "stalled";
        alive.iter().all(stalled).then_some(())
    });
    net.start_again(&TWO[1..]);
    let [height, final_epoch] = before[0];
    net.node_final_through("validator-1", final_epoch + 2);
    // One block closes all epochs that have ended, not one each.
    let now = net.blocks("validator-1").len() as u64;
    assert!(now > height && now < height + 3 * 3, "{height} {now}");
    net.start_again(&TWO[..1]);
}

fn epoch_view(net: &Network, epoch: u64) -> Value {
    net.get("validator-1", &format!("/api/v1/epochs/{epoch}"))
}

/// Waits for an epoch from now on in which all workers are measured, and returns it.
fn measured_again(net: &Network) -> u64 {
    let mut epoch = net.status_number("validator-1", "epoch").unwrap();
    loop {
        net.node_final_through("validator-1", epoch);
        if epoch_view(net, epoch)["workers_scored"] == WORKERS.len() {
            return epoch;
        }
        epoch += 1;
    }
}

/// The event is the clock.
fn wait_for_clock(at_ms: u64) {
    std::thread::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms())));
}

fn signal_two(net: &Network, signal: Signal) {
    TWO.iter().for_each(|name| kill(Pid::from_raw(net.pid(name).unwrap()), signal).unwrap());
}

/// Commands of the pool's owner, one after the other: each has the number after that of the one before.
struct Commands<'a> {
    net: &'a Network,
    left: Vec<(&'static str, &'static str)>,
    under_way: Option<Child>,
    /// The blocks that took them.
    taken: Vec<u64>,
}

impl<'a> Commands<'a> {
    fn new(net: &'a Network) -> Self {
        let acts = ["hold", "resume"].into_iter().flat_map(|act| WORKERS.map(|worker| (act, worker)));
        Self { net, left: acts.rev().collect(), under_way: None, taken: vec![] }
    }

    /// Hands in one after the other until then.
    fn hand_in_until(&mut self, at_ms: u64) {
        while now_ms() < at_ms {
            let has_ended = self.under_way.as_mut().is_some_and(|command| command.try_wait().unwrap().is_some());
            if has_ended {
                self.end();
            }
            if self.under_way.is_none() {
                self.under_way = self.left.pop().map(|(act, worker)| self.hand_in(act, worker));
            }
            wait_for_clock(at_ms.min(now_ms() + 20));
        }
    }

    fn hand_in(&self, act: &str, worker: &str) -> Child {
        Command::new(lucid())
            .args(["pool", act, &self.net.node_id(worker), "--yes", "--json", "--home"])
            .arg(self.net.home("owner"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits until a block has taken what is under way.
    fn end(&mut self) {
        let Some(command) = self.under_way.take() else { return };
        let output = command.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        self.taken.push(said["height"].as_u64().unwrap());
    }
}

/// Two validators are stopped around the end of each of five epochs, so that it is closed more than half an epoch late and the
/// next one cannot be measured. In the other halves blocks are decided, and commands in them.
fn five_epochs_unmeasured(net: &Network) {
    let epoch = net.status_number("validator-1", "epoch").unwrap();
    let end = epoch_view(net, epoch)["end"].as_u64().unwrap();
    // The next one, of which there is certainly enough left.
    let (first, first_end) = (epoch + 1, end + EPOCH_MS);
    let mut commands = Commands::new(net);
    for end in (0..UNMEASURED).map(|i| first_end + i * EPOCH_MS) {
        wait_for_clock(end - BEFORE_MS);
        signal_two(net, Signal::SIGSTOP);
        wait_for_clock(end + EPOCH_MS / 2 + 50);
        signal_two(net, Signal::SIGCONT);
        commands.hand_in_until(end + EPOCH_MS - BEFORE_MS);
    }
    commands.end();
    let last = first + UNMEASURED;
    net.node_final_through("validator-1", last);

    let stages: Vec<_> = (first..=last).map(|epoch| epoch_view(net, epoch)["stage"].clone()).collect();
    assert_eq!(stages[0], "final", "measured, though closed late: {stages:?}");
    assert!(stages[1..].iter().all(|stage| stage == "unmeasured"), "{stages:?}");
    let blocks = net.blocks("validator-1");
    let span = first_end..first_end + UNMEASURED * EPOCH_MS;
    let meanwhile = blocks.iter().filter(|block| span.contains(&block["time"].as_u64().unwrap()));
    let of_commands = meanwhile.filter(|block| block["commands"] == 1);
    let of_commands: Vec<_> = of_commands.map(|block| block["height"].as_u64().unwrap()).collect();
    // A round that a stall cuts in two may take the next half too, but not all of them.
    assert!(of_commands.len() >= 2, "{of_commands:?} of {:?}", commands.taken);
    assert_eq!(commands.taken[..of_commands.len()], of_commands);
    let measured = measured_again(net);
    assert!(measured > last);
    assert_eq!(epoch_view(net, measured)["stage"], "final");
}
