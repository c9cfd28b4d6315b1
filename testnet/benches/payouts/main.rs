//! A payday of 1,000 workers in one run, with its figures: from the settlement's block to the root signed and taken by the network,
//! until everybody's payment is included, what of it is signing, and how often the provider was asked.
//!
//! `cargo bench -p lucid-testnet --profile dev --bench payouts`
//!
//! Everything is the real thing in one process: the ledger's block, five treasury signers with their watermarks on disk, asked
//! over a mesh of loopback connections, reader and pusher of a leader, and the local TRON network over HTTP. It is run twice: with
//! blocks every second, for the times, and with blocks every three seconds, as TRON's public networks make them, for the requests.
//! What is left out is consensus: the block is handed to all six nodes at the moment at which the clock starts.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]

mod ledger;
mod nodes;
mod requests;
mod signing;
#[expect(dead_code, reason = "other benchmarks use the rest")]
#[path = "../../../consensus/benches/thousand/mod.rs"]
mod thousand;
mod trace;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use lucid_testnet::devnet::SEED;
use lucid_testnet::funding::{Funded, Needs, TronNetwork};
use lucid_tron_bridge::client::{ApiKey, Client, ClientConfig, EndpointConfig};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::sender::{SendOptions, Sender};
use lucid_tron_devnet::wallet::Wallet;
use lucid_tron_devnet::{DevnetConfig, serve};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::PayoutAddress;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use ledger::Payday;
use nodes::{Leader, Treasurer};
use requests::Counted;
use thousand::{WORKERS, policy};
use trace::Step;

const SIGNERS: u8 = 5;
const THRESHOLD: u8 = 3;
/// The name under which the local TRON network counts the leader's requests.
const LEADER: &str = "leader";
/// TRX for the leader: first payments to addresses without USDT cost most.
const GAS: Sun = Sun::new(20_000_000_000);
/// Requests a second that the leader allows itself: as many as can be configured, because the provider is this machine.
const REQUESTS_PER_S: u32 = 1_000;
/// Between blocks of TRON's public networks.
const TRON_BLOCK_TIME: Duration = Duration::from_secs(3);
/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    trace::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("blocks every second");
    runtime.block_on(payday(Duration::from_secs(1)));
    println!("\nblocks every three seconds");
    runtime.block_on(payday(TRON_BLOCK_TIME));
}

fn wanted(figure: f64, is_good: bool, unit: &str, wanted: &str) -> String {
    let verdict = if is_good { "" } else { "   MISSED" };
    format!("{figure:>9.2} {unit:<3} (wanted: {wanted}){verdict}")
}

async fn payday(block_time: Duration) {
    let is_fast = block_time < TRON_BLOCK_TIME;
    let mut steps = trace::steps();
    let stop = CancellationToken::new();
    let (send, ready) = oneshot::channel();
    let config = DevnetConfig {
        port: 0,
        block_time: Some(block_time),
        solid_lag: 3,
        deploy_usdt: false,
        seed: SEED.to_owned(),
        ..DevnetConfig::default()
    };
    let mut tron = JoinSet::new();
    tron.spawn(serve(config, stop.clone(), |ready| drop(send.send(ready))));
    let host = ready.await.unwrap().listen[0].to_string();
    let network = TronNetwork::first_block(&format!("http://{host}")).await.unwrap();

    let treasurers: Vec<_> = (0..SIGNERS).map(Treasurer::new).collect();
    let signers = SignerSet {
        era: 1,
        threshold: THRESHOLD,
        members: treasurers
            .iter()
            .map(|signer| TreasurySigner { node: signer.node.account(), key_address: signer.key.address() })
            .collect(),
    };
    let (owner, gas) = (TronKey::generate().unwrap(), TronKey::generate().unwrap());
    let needs = Needs { owner: &owner, signers: &signers, policy: &policy(), gas: &[gas.address()] };
    let Funded { usdt, vault, limits } = network.fund(&needs).await.unwrap();
    give(&network.client, gas.address()).await;
    let payday = Payday::new(ledger::Parts {
        genesis_block: network.genesis_block,
        usdt,
        vault: Vault { address: vault, nonce: 0, limits, signers },
        gas: gas.address(),
        validator: treasurers[0].node.clone(),
    });
    let due = payday.due();
    println!("accounts that are due:                       {:>9}", due.len());
    assert!(due.len() >= usize::from(WORKERS));

    let ratio = signing::ratio(&payday, &gas, vault, &network.client.head().await.unwrap());

    let providers = Client::new(ClientConfig {
        endpoints: vec![EndpointConfig { url: format!("http://{host}"), api_key: Some(ApiKey::new(LEADER)) }],
        requests_per_s: NonZeroU32::new(REQUESTS_PER_S),
        ..ClientConfig::new("", Some(network.genesis_block))
    })
    .unwrap();
    let leader = Leader::start(&payday, providers, gas, &treasurers, &stop).await;
    leader.is_ready().await;
    let before = Counted::read(&host, LEADER);
    steps.clear();

    let start = Instant::now();
    leader.finalize(&payday);
    for treasurer in &leader.treasurers {
        treasurer.finalize(&payday);
    }
    let next = async |steps: &mut trace::Steps| timeout(PATIENCE, steps.next()).await.unwrap().unwrap();
    let (mut signed, mut accepted, mut posted) = (None, None, None);
    let (mut batches, mut paid) = (0, 0);
    let included = loop {
        let (at, step) = next(&mut steps).await;
        match step {
            Step::Signed => drop(signed.get_or_insert(at)),
            Step::PostSent => drop(accepted.get_or_insert(at)),
            Step::PostIncluded => posted = Some(at),
            Step::BatchIncluded(accounts) => {
                (batches, paid) = (batches + 1, paid + accounts);
                if paid >= due.len() {
                    break at;
                }
            }
            Step::Failed(what) => panic!("a transaction failed: {what}"),
            Step::Finished => panic!("finished before everybody was paid"),
        }
    };
    let during = Counted::read(&host, LEADER).since(&before);
    let seconds = |at: Instant| at.duration_since(start).as_secs_f64();
    let (signed, accepted) = (seconds(signed.unwrap()), seconds(accepted.unwrap()));
    let (posted, included) = (seconds(posted.unwrap()), seconds(included));
    while next(&mut steps).await.1 != Step::Finished {}
    let finished = seconds(Instant::now());
    let whole = Counted::read(&host, LEADER).since(&before);
    check(&network.client, vault, &payday).await;

    println!("settlement's block to root signed {THRESHOLD}-of-{SIGNERS}:      {signed:>9.2} s");
    println!("  and its broadcast accepted:                {}", wanted(accepted, accepted < 1.0, "s", "less than 1"));
    println!("  and in a block, as the pusher saw it:      {posted:>9.2} s");
    let pushing = included - accepted;
    println!(
        "then until all {batches} batches are included:       {}",
        if is_fast { wanted(pushing, pushing < 5.0, "s", "less than 5") } else { format!("{pushing:>9.2} s") }
    );
    println!("settlement's block to all paid on the solid view: {finished:>4.1} s    (3 blocks behind)");
    println!("batches built and signed, to raw k256 signing: {}", wanted(ratio, ratio >= 0.8, "", "0.8 and more"));
    during.print("until all are included", is_fast);
    whole.print("until all are paid on the solid view", is_fast);
    stop.cancel();
    leader.end().await;
    tron.join_next().await.unwrap().unwrap().unwrap();
}

/// More TRX than a local network's leader has.
async fn give(client: &Client, to: PayoutAddress) {
    let giver = TronKey::from_secret(&Wallet::derive(SEED, 1).secret()).unwrap();
    let options = SendOptions::new(Sun::new(5_000_000_000));
    Sender::new(client, &giver).send_trx(to, GAS, &options, PATIENCE).await.unwrap();
}

/// Everybody has what the ledger owes, as the vault says.
async fn check(client: &Client, vault: PayoutAddress, payday: &Payday) {
    let ids: Vec<_> = payday.leaves.iter().map(|leaf| leaf.id).collect();
    let snapshot = client.vault_snapshot(&vault, &ids).await.unwrap();
    for leaf in &payday.leaves {
        assert_eq!(snapshot.paid_of(&leaf.id), Some(leaf.owed), "{}", leaf.id);
    }
    assert_eq!(MicroUsdt::sum(payday.leaves.iter().map(|leaf| leaf.owed)), Some(snapshot.paid_out));
}
