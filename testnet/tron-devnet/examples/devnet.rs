//! Runs a network with 1 s blocks on a free port and prints one JSON line when it is ready: what the client tests start.
//!
//! `cargo run -p lucid-tron-devnet --example devnet -- [--on-demand] [--solid-lag N]`; it ends with standard input.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use lucid_tron_devnet::{DevnetConfig, DevnetError, Ready, address, serve};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), DevnetError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| arguments.iter().skip_while(|a| *a != name).nth(1).and_then(|n| n.parse::<u64>().ok());
    let config = DevnetConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        block_time: (!arguments.iter().any(|a| a == "--on-demand")).then_some(Duration::from_secs(1)),
        solid_lag: after("--solid-lag").unwrap_or(2),
        ..DevnetConfig::default()
    };
    let stop = CancellationToken::new();
    let ended = stop.clone();
    // Reading blocks a thread of its own; the process ends with this function, whether or not that thread has.
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        drop(std::io::stdin().read_to_end(&mut rest));
        ended.cancel();
    });
    serve(config, stop, announce).await
}

fn announce(ready: Ready) {
    let accounts: Vec<_> = ready
        .accounts
        .iter()
        .map(|a| serde_json::json!({ "address": address::to_base58(a.address()), "key": hex::encode(a.secret()) }))
        .collect();
    let line = serde_json::json!({
        "url": format!("http://{}", ready.listen),
        "accounts": accounts,
        "usdt": ready.usdt.map(address::to_base58),
    });
    // Nobody to tell is no reason to fail.
    drop(writeln!(std::io::stdout(), "{line}"));
}
