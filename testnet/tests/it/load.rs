//! Two hundred commands a second on a network of processes: each is acknowledged at once and final within a second or two.

use std::sync::RwLock;
use std::time::{Duration, Instant};

use lucid_types::id::NetworkId;

use crate::harness::{Network, until};
use crate::newcomers::{Follower, Times, Work, hand_in, key, tally};
use crate::storm::number;

/// Commands a second.
const RATE: u32 = 200;
/// How long, unless the environment says otherwise.
const SECONDS: u64 = 20;
/// Users at a time.
const USERS: u32 = 16;
/// What a command may take until a block holds it: the median, and 99 of 100.
const MEDIAN: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(2);
/// Bits more than are needed at the moment.
const SPARE: u8 = 3;

/// The id that everything in a network is signed for.
pub(crate) fn network_id(net: &Network) -> NetworkId {
    net.get("validator-1", "/api/v1/status")["network_id"].as_str().unwrap().parse().unwrap()
}

#[test]
#[ignore = "takes the whole machine for half a minute: make load"]
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
fn two_hundred_commands_a_second_are_final_in_time() {
    let seconds = number("LUCID_LOAD_SECONDS").unwrap_or(SECONDS);
    let mut net = Network::up_alone(&["--workers", "1", "--epoch-length", "5s"]);
    net.ready();
    net.final_through(2);
    let network = network_id(&net);
    let apis: Vec<_> = net.validators().iter().map(|name| net.api(name)).collect();
    let follower = Follower::of(&net, "validator-1");
    let count = RATE * u32::try_from(seconds).unwrap();
    let work = RwLock::new(until("work", || Work::ask(&apis[0], network, None)));
    let start = Instant::now();
    // Each when it is due, however long those before it take.
    let user = |user: u32| {
        let mut outcomes = Vec::new();
        for i in (user..count).step_by(USERS.try_into().unwrap()) {
            let due = start + Duration::from_secs(1) * i / RATE;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let key = key("load", i.into());
            let command = work.read().unwrap().register(&key, SPARE);
            let begun = Instant::now();
            let outcome = hand_in(&apis[i as usize % apis.len()], &command);
            outcomes.push((key.account(), due, begun.elapsed(), outcome));
        }
        outcomes
    };
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let users: Vec<_> = (0..USERS).map(|i| scope.spawn(move || user(i))).collect();
        let mut left = users.len();
        while left > 0 {
            std::thread::sleep(Duration::from_millis(200));
            *work.write().unwrap() = until("work", || Work::ask(&apis[0], network, None));
            left = users.iter().filter(|user| !user.is_finished()).count();
        }
        users.into_iter().flat_map(|user| user.join().unwrap()).collect()
    });
    let took = start.elapsed();
    let deadline = Instant::now() + 4 * MOST;
    let (mut acknowledged, mut included, mut refused, mut lost) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (account, due, answered, outcome) in outcomes {
        match outcome {
            Err(reason) => refused.push(reason),
            Ok(()) => {
                acknowledged.push(answered);
                match follower.inclusion((account, 0), deadline) {
                    Some(at) => included.push(at - due),
                    None => lost += 1,
                }
            }
        }
    }
    println!("{count} commands in {took:.1?} to {} validators; refused:{}", apis.len(), tally(refused.clone()));
    let (acknowledged, included) = (Times::new(acknowledged), Times::new(included));
    println!("acknowledged, from the POST on: {acknowledged}");
    println!("final, from when it was due on: {included}");
    let blocks = follower.blocks();
    let late = blocks.iter().filter(|block| block.round > 0).count();
    let most = blocks.iter().map(|block| (block.commands, block.bytes)).max().unwrap();
    println!(
        "{} blocks, {late} not in round 0; the greatest has {} commands, {} KiB",
        blocks.len(),
        most.0,
        most.1 >> 10
    );
    println!("memory of a validator: at most {} MB", net.most_resident() / 1_000_000);
    drop(follower);
    net.command(&["down"]);
    net.end();
    assert_eq!((refused.len(), lost), (0, 0), "refused, and acknowledged but in no block");
    assert!(included.place(50) < MEDIAN && included.place(99) < MOST, "{included}");
}
