//! A network of real processes, each of which takes part in the topics of its role: validators decide, and a node that hears nothing of
//! their votes has every block.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use lucid_node::home::Home;
use lucid_p2p::peer_id_string;
use serde_json::Value;

use crate::fixture::{genesis, node, signing_key};
use crate::hostile::{free_port, lucid};

const VALIDATORS: [u8; 4] = [1, 2, 3, 4];
const FOLLOWER: u8 = 9;

/// A process; killed when the test ends.
struct Running {
    child: Child,
    api: String,
    metrics: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, as it should not.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Running {
    fn start(folder: &Path, seed: u8, (own, first): (u16, u16)) -> Self {
        let home = folder.join(seed.to_string());
        let [api, metrics, tron] = [(); 3].map(|()| free_port());
        let is_validator = VALIDATORS.contains(&seed);
        let bootstrap = format!("/ip4/127.0.0.1/tcp/{first}/p2p/{}", peer_id_string(&node(1).first_key()).unwrap());
        let init = lucid(&home)
            .args(["init", "--local", "--role", if is_validator { "validator" } else { "worker" }])
            .args(["--listen", &format!("/ip4/127.0.0.1/tcp/{own}"), "--bootstrap", &bootstrap])
            .args(["--api", &format!("127.0.0.1:{api}"), "--metrics", &format!("127.0.0.1:{metrics}")])
            .args(["--tron", &format!("http://127.0.0.1:{tron}")])
            .args(["--genesis", folder.join("genesis.toml").to_str().unwrap()])
            .output()
            .unwrap();
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        std::fs::write(home.join("node.key"), hex::encode([seed; 32])).unwrap();
        if is_validator {
            Home::new(&home).write_validator_key(&signing_key(seed)).unwrap();
        }
        let child = lucid(&home).arg("run").stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self {
            child,
            api: format!("http://127.0.0.1:{api}/api/v1"),
            metrics: format!("http://127.0.0.1:{metrics}/metrics"),
        }
    }

    async fn text(client: &reqwest::Client, url: &str) -> String {
        match client.get(url).timeout(Duration::from_secs(5)).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    async fn status(&self, client: &reqwest::Client) -> Value {
        serde_json::from_str(&Self::text(client, &format!("{}/status", self.api)).await).unwrap_or_default()
    }

    /// What the mesh has counted of this kind of topic.
    async fn counted(&self, client: &reqwest::Client, topic: &str) -> Vec<String> {
        let page = Self::text(client, &self.metrics).await;
        let wanted = format!("lucid_mesh_total{{group=\"{topic}\"");
        page.lines().filter(|line| line.starts_with(&wanted)).map(ToOwned::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_decide_among_themselves_and_others_have_every_block() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = genesis(Duration::from_secs(2), &VALIDATORS);
    std::fs::write(folder.path().join("genesis.toml"), toml::to_string(&genesis).unwrap()).unwrap();
    let first = free_port();
    let of = |seed: u8| Running::start(folder.path(), seed, (if seed == 1 { first } else { free_port() }, first));
    let nodes: Vec<_> = VALIDATORS.into_iter().chain([FOLLOWER]).map(of).collect();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    // Blocks that close epochs, with commitments and reveals in the windows after them.
    let (mut look, wanted) = (tokio::time::interval(Duration::from_millis(200)), 5);
    let decided = async {
        for node in &nodes {
            while node.status(&client).await["final_epoch"].as_u64().is_none_or(|epoch| epoch < wanted) {
                look.tick().await;
            }
        }
    };
    let is_in_time = tokio::time::timeout(Duration::from_secs(120), decided).await.is_ok();
    let mut said = Vec::new();
    for node in &nodes {
        said.push(node.status(&client).await.to_string());
    }
    assert!(is_in_time, "{said:#?}");

    let [validators @ .., follower] = nodes.as_slice() else { panic!("five nodes") };
    for topic in ["consensus", "commitments"] {
        assert_eq!(follower.counted(&client, topic).await, Vec::<String>::new());
        for validator in validators {
            let counted = validator.counted(&client, topic).await;
            assert!(counted.iter().any(|line| line.contains("\"accepted\"")), "{topic}: {counted:?}");
            assert!(counted.iter().all(|line| !line.contains("not-a-validator")), "{topic}: {counted:?}");
        }
    }
    assert!(follower.counted(&client, "certificates").await.iter().any(|line| line.contains("\"accepted\"")));
}
