//! A network in a process of its own: killed in the middle of its work, or short of descriptors.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lucid_tron_devnet::{DevnetConfig, serve};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::client::{Net, get_at, pay_at};

const FOLDER: &str = "LUCID_DEVNET_KILL_TEST_FOLDER";

fn config(dir: &Path) -> DevnetConfig {
    DevnetConfig {
        port: 0,
        block_time: Some(Duration::from_millis(20)),
        solid_lag: 2,
        accounts: 3,
        dir: Some(dir.to_owned()),
        ..DevnetConfig::default()
    }
}

/// Not a test: the process that is killed.
#[tokio::test]
#[ignore = "started by the test below"]
async fn child() {
    let Ok(dir) = std::env::var(FOLDER) else { return };
    let announce =
        |ready: lucid_tron_devnet::Ready| writeln!(std::io::stdout(), "\nREADY {}", ready.listen[0]).unwrap();
    serve(config(Path::new(&dir)), CancellationToken::new(), announce).await.unwrap();
}

/// With at most so many open files, if that is said.
async fn start(dir: &Path, files: Option<u32>) -> (Child, SocketAddr) {
    let limit = files.map_or_else(String::new, |files| format!("ulimit -n {files}; "));
    let mut child = Command::new("sh")
        .args(["-c", &format!("{limit}exec \"$0\" --exact kill::child --ignored --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("it ended before it was ready");
        if let Some(address) = line.strip_prefix("READY ") {
            return (child, address.parse().unwrap());
        }
    }
}

#[tokio::test]
async fn what_was_seen_in_a_block_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen: Vec<(String, Value)> = Vec::new();
    let mut blocks: Vec<Value> = Vec::new();
    for round in 0..3u64 {
        let (mut child, at) = start(dir.path(), None).await;
        for (id, info) in &seen {
            let now = get_at(at, &format!("/wallet/gettransactioninfobyid?value={id}")).await;
            assert_eq!(&now, info, "round {round}");
        }
        for block in &blocks {
            let number = &block["block_header"]["raw_data"]["number"];
            assert_eq!(&get_at(at, &format!("/wallet/getblockbynum?num={number}")).await, block, "round {round}");
        }
        // Payments until five are in blocks, and then the end, while blocks go on being made.
        let mut waiting = Vec::new();
        let before = seen.len();
        while seen.len() < before + 5 {
            let amount = 1 + round * 1_000 + u64::try_from(waiting.len() + seen.len()).unwrap();
            waiting.push(pay_at(at, "lucid", amount).await);
            let mut left = Vec::new();
            for id in waiting {
                let info = get_at(at, &format!("/wallet/gettransactioninfobyid?value={id}")).await;
                if info.get("id").is_some() { seen.push((id, info)) } else { left.push(id) }
            }
            waiting = left;
        }
        blocks.push(get_at(at, "/wallet/getnowblock").await);
        child.start_kill().unwrap();
        let status = child.wait().await.unwrap();
        assert!(!status.success(), "it was killed");
    }
    let net = Net::start_with(config(dir.path())).await;
    for (id, info) in &seen {
        assert_eq!(&net.get(&format!("/wallet/gettransactioninfobyid?value={id}")).await, info);
    }
    net.stop().await;
}

/// Connections that say nothing, that begin a request, and that begin its body.
#[tokio::test]
async fn more_unused_connections_than_descriptors_stop_neither_answers_nor_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (_child, at) = start(dir.path(), Some(256)).await;
    let mut unused = Vec::new();
    for half in
        ["", "POST /wallet/getnow", "POST /wallet/getnowblock HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{"]
    {
        for _ in 0..400 {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(half.as_bytes()).await.unwrap();
            unused.push(stream);
            // This process has a limit of its own.
            if unused.len() > 500 {
                unused.remove(0);
            }
        }
        let number =
            async || get_at(at, "/wallet/getnowblock").await["block_header"]["raw_data"]["number"].as_u64().unwrap();
        let later = async {
            let before = number().await;
            pay_at(at, "lucid", 5).await;
            while number().await < before + 5 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), later).await.unwrap_or_else(|_| panic!("no answer: {half:?}"));
    }
}
