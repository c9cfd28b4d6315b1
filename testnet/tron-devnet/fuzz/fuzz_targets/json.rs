//! Any requests, in any method, to any call and any control method: answered without a panic, with a status that a client expects,
//! and in JSON.
//!
//! Up to four requests to one network, a line each: the first byte chooses the path, the second the method, the rest is body
//! or query. `make fuzz`.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use libfuzzer_sys::fuzz_target;
use lucid_tron_devnet::api::{self, Control};
use lucid_tron_devnet::chain::{Chain, Genesis, Params};
use lucid_tron_devnet::node::Node;
use lucid_tron_devnet::wallet::{self, Wallet};
use lucid_tron_devnet::{Address, address, token};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const TIME: u64 = 1_700_000_000_000;
const CONTROL: [&str; 12] = [
    "info",
    "mine",
    "travel",
    "fund",
    "token",
    "energyfactor",
    "snapshot",
    "revert",
    "fork",
    "solidify",
    "faults",
    "nonsense",
];

struct World {
    chain: Chain,
    owner: Wallet,
    usdt: Address,
    paths: Vec<String>,
    runtime: Runtime,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // Little energy, so that endless loops end soon.
    let params = Params { constant_energy_limit: 1_000_000, ..Params::default() };
    let mut chain = Chain::new(Genesis { params, ..Genesis::seeded("fuzz", 2, 1_000_000_000_000, TIME, 1) });
    let owner = Wallet::derive("fuzz", 0);
    let create = wallet::create(owner.address(), "t", token::creation_code(1_000), Some(token::abi()), 0);
    let (bytes, id) =
        wallet::signed(&owner, &create, 1_000_000_000, wallet::Validity::after(chain.genesis_id().0, TIME, 60_000));
    chain.submit(&bytes).unwrap();
    chain.produce_block(TIME + 3_000);
    let usdt = wallet::contract_address(&id, owner.address());
    let whose = [format!("contracts/{}", address::to_base58(usdt)), format!("transactions/{}", hex::encode(id))];
    let whose = whose.into_iter().chain(["blocks/latest".to_owned(), "blocks/1".to_owned()]);
    let events = whose.map(|subject| format!("/v1/{subject}/events"));
    let control = CONTROL.iter().map(|name| format!("/devnet/{name}"));
    let paths = api::paths().chain(events).chain(control).collect();
    // Nobody waits here: a paused clock runs ahead of every delay.
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    World { chain, owner, usdt, paths, runtime }
});

/// The request that a line describes; none if it would only take long.
fn request(line: &[u8]) -> Option<Request<Body>> {
    let [path, method, rest @ ..] = line else { return None };
    let paths = &WORLD.paths;
    let path = &paths[usize::from(*path) % paths.len()];
    if path == "/devnet/mine" && rest.windows(4).any(|digits| digits.iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let query = || rest.iter().map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '+' }).collect::<String>();
    let request = match method % 8 {
        0..4 => Request::post(path).body(Body::from(rest.to_vec())),
        4 => Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(rest.to_vec())),
        5 => Request::post(format!("{path}?{}", query())).body(Body::empty()),
        6 => Request::get(format!("{path}?{}", query())).body(Body::empty()),
        _ => Request::put(path).body(Body::from(rest.to_vec())),
    };
    request.ok()
}

fuzz_target!(|data: &[u8]| {
    let world = &*WORLD;
    let node = Arc::new(Node::new(world.chain.clone(), data.len() % 2 == 0));
    let router = api::router(node, Vec::new(), Some(Control::new(Some((world.owner.clone(), world.usdt)))), CancellationToken::new());
    for line in data.splitn(4, |b| *b == b'\n') {
        let Some(request) = request(line) else { continue };
        let is_put = request.method() == "PUT";
        world.runtime.block_on(async {
            // A fault may never answer.
            let answering = tokio::time::timeout(Duration::from_secs(3_600), router.clone().oneshot(request));
            let Ok(response) = answering.await else { return };
            let (parts, body) = response.unwrap().into_parts();
            let status = parts.status.as_u16();
            assert!(status == 200 || (400..600).contains(&status), "{status}");
            assert!(!is_put || status == 405);
            let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|v| v == "application/json");
            let body = to_bytes(body, usize::MAX).await.unwrap();
            assert!(!is_json || serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        });
    }
});
