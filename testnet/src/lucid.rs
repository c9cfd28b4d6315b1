//! The `lucid` executable that a testnet runs: found, compared with this build, and used to make homes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use lucid_node::config::LogConfig;
use lucid_types::id::{NodeId, PayoutAddress};
use lucid_types::validator::Validator;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::funding::GAS_TRX;
use crate::plan::Role;
use crate::ports::NodePorts;
use crate::process::clean_environment;

/// What every local worker declares: a small share of the machine that all of them run on.
const DECLARED: [&str; 8] = ["--cores", "1", "--memory", "268435456", "--disk", "1073741824", "--bandwidth", "100000"];

/// A `lucid` of this very build.
#[derive(Clone, Debug)]
pub struct Lucid {
    path: PathBuf,
}

/// What a new home is given.
#[derive(Clone, Debug)]
pub struct HomePlan<'a> {
    /// Where it will be.
    pub home: &'a Path,
    /// The node's name.
    pub name: &'a str,
    /// What it does.
    pub roles: &'a [Role],
    /// Its listeners.
    pub ports: NodePorts,
    /// The one node it starts from; the bootstrap node itself has none.
    pub bootstrap: Option<&'a str>,
    /// Base URL of the local TRON network.
    pub tron: &'a str,
}

/// What `lucid init --json` says of a new home.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// The node's public key.
    pub node_id: NodeId,
    /// The same as libp2p writes it.
    pub peer_id: String,
    /// The account from which a worker's bridge pays for transactions.
    #[serde(default)]
    pub gas_address: Option<PayoutAddress>,
    /// Of the key with which a treasury signer signs.
    #[serde(default)]
    pub signer_address: Option<PayoutAddress>,
    /// A validator's entry in the genesis.
    #[serde(default)]
    pub validator: Option<Validator>,
}

#[derive(Deserialize)]
struct Version {
    build: String,
}

impl Lucid {
    /// Finds the executable and refuses one of another build.
    ///
    /// # Errors
    /// It is missing, cannot be run, or is of another build.
    pub async fn find(given: Option<&Path>) -> Result<Self> {
        let path = match given {
            Some(path) => std::path::absolute(path)?,
            None => beside_this_executable()?,
        };
        ensure!(
            path.is_file(),
            "there is no {}; build it with `cargo build --bins`, or name another with --lucid PATH",
            path.display()
        );
        let lucid = Self { path };
        let version: Version = lucid.ask(["version".into(), "--json".into()]).await?;
        let ours = lucid_node::BUILD_ID;
        if version.build != ours {
            bail!(
                "{} is of build {}, this lucid-testnet of build {ours}; build both together with `cargo build --bins`",
                lucid.path.display(),
                version.build
            );
        }
        Ok(lucid)
    }

    /// The executable.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a home.
    ///
    /// # Errors
    /// `lucid init` refuses, for example because something is there already.
    pub async fn init(&self, plan: &HomePlan<'_>) -> Result<Identity> {
        self.ask(init_arguments(plan)).await.with_context(|| format!("make the home of {}", plan.name))
    }

    /// Arguments with which the node `name` of `home` runs. It gives its name as API key to the local TRON network at this URL, which
    /// takes any key and counts requests by it: no secret. It may spend all TRX that it was given.
    pub fn run_arguments(home: &Path, name: &str, tron: &str) -> Vec<OsString> {
        let mut arguments = vec!["run".into(), "--home".into(), home.into()];
        if let Some(host) = host(tron) {
            arguments.extend(["--set".into(), format!("tron.api_keys={host}={name}").into()]);
        }
        let all = GAS_TRX.get() / 1_000_000;
        arguments.extend(["--set".into(), format!("bridge.max_trx_per_day={all}").into()]);
        arguments
    }

    /// The same for its first start, with which it joins the network by a string, enters the string's pool, and is paid to this address.
    pub fn join_arguments(home: &Path, name: &str, tron: &str, string: &str, payout_address: &str) -> Vec<OsString> {
        let mut arguments = Self::run_arguments(home, name, tron);
        arguments[0] = "join".into();
        let filter = format!("log.filter={}", LogConfig::default().filter);
        arguments.extend(["--set".into(), filter.into()]);
        arguments.extend([string, "--payout-address", payout_address].map(Into::into));
        arguments.extend(DECLARED.map(Into::into));
        arguments
    }

    /// What a command in a home answers.
    ///
    /// # Errors
    /// It fails.
    pub async fn command<T: DeserializeOwned>(&self, home: &Path, arguments: &[&str]) -> Result<T> {
        let home = [OsString::from("--home"), home.into()].into_iter();
        let answer = self.ask(home.chain(arguments.iter().map(Into::into))).await;
        answer.with_context(|| format!("lucid {}", arguments.join(" ")))
    }

    async fn ask<T: DeserializeOwned>(&self, arguments: impl IntoIterator<Item = OsString>) -> Result<T> {
        let mut command = Command::new(&self.path);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        clean_environment(&mut command);
        let output = command.output().await.with_context(|| format!("run {}", self.path.display()))?;
        if !output.status.success() {
            bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).with_context(|| {
            format!("{} answered {:?}, which is no answer of a lucid", self.path.display(), text.trim())
        })
    }
}

fn beside_this_executable() -> Result<PathBuf> {
    let this = std::env::current_exe().context("find this executable")?;
    Ok(this.with_file_name("lucid"))
}

fn init_arguments(plan: &HomePlan<'_>) -> Vec<OsString> {
    let NodePorts { p2p, api, metrics } = plan.ports;
    let mut arguments: Vec<OsString> =
        vec!["init".into(), "--json".into(), "--local".into(), "--home".into(), plan.home.into()];
    let mut add = |flag: &str, value: String| arguments.extend([flag.into(), value.into()]);
    add("--name", plan.name.into());
    for role in plan.roles {
        add("--role", role.name().into());
    }
    add("--listen", format!("/ip4/127.0.0.1/tcp/{p2p}"));
    add("--listen", format!("/ip4/127.0.0.1/udp/{p2p}/quic-v1"));
    if let Some(bootstrap) = plan.bootstrap {
        add("--bootstrap", bootstrap.into());
    }
    add("--api", format!("127.0.0.1:{api}"));
    add("--metrics", format!("127.0.0.1:{metrics}"));
    add("--tron", plan.tron.into());
    arguments
}

/// The host of a URL.
fn host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let end = if authority.ends_with(']') { authority.len() } else { authority.rfind(':').unwrap_or(authority.len()) };
    authority.get(..end).filter(|host| !host.is_empty())
}

/// The address that every other home names.
pub fn bootstrap_address(ports: NodePorts, identity: &Identity) -> String {
    format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", ports.p2p, identity.peer_id)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_every_listener_and_only_the_bootstrap_node() {
        let ports = NodePorts { p2p: 9010, api: 9011, metrics: 9012 };
        let plan = HomePlan {
            home: Path::new("/tmp/n/worker-1"),
            name: "worker-1",
            roles: &[Role::Worker],
            ports,
            bootstrap: Some("/ip4/127.0.0.1/tcp/9006/p2p/12D3"),
            tron: "http://127.0.0.1:9000",
        };
        let text: Vec<_> = init_arguments(&plan).into_iter().map(|a| a.into_string().unwrap()).collect();
        assert_eq!(
            text.join(" "),
            "init --json --local --home /tmp/n/worker-1 --name worker-1 --role worker --listen /ip4/127.0.0.1/tcp/9010 \
             --listen /ip4/127.0.0.1/udp/9010/quic-v1 --bootstrap /ip4/127.0.0.1/tcp/9006/p2p/12D3 \
             --api 127.0.0.1:9011 --metrics 127.0.0.1:9012 --tron http://127.0.0.1:9000"
        );
        let alone = HomePlan { bootstrap: None, ..plan };
        assert!(!init_arguments(&alone).contains(&"--bootstrap".into()));
    }

    #[test]
    fn a_node_tells_the_local_tron_network_its_name() {
        let arguments = Lucid::run_arguments(Path::new("/h"), "worker-1", "http://127.0.0.1:9000");
        assert_eq!(
            arguments.join(" ".as_ref()),
            "run --home /h --set tron.api_keys=127.0.0.1=worker-1 --set bridge.max_trx_per_day=2000"
        );
        let joins = Lucid::join_arguments(Path::new("/h"), "worker-1", "http://127.0.0.1:9000", "lucid1x", "T1")
            .join(" ".as_ref());
        let joins = joins.to_str().unwrap();
        assert!(joins.starts_with("join --home /h --set tron.api_keys=127.0.0.1=worker-1"), "{joins}");
        assert!(joins.contains(" lucid1x --payout-address T1 --cores 1 "), "{joins}");
        let hosts = ["http://localhost/x", "https://[::1]:90", "nonsense", "http://"].map(host);
        assert_eq!(hosts, [Some("localhost"), Some("[::1]"), None, None]);
    }

    #[test]
    fn the_addresses_of_an_identity_depend_on_the_roles() {
        let (node, address) = ("ab".repeat(32), PayoutAddress::from_hash20([7; 20]));
        let read = |more: &str| {
            let text = format!(r#"{{"home":"/h","node_id":"{node}","peer_id":"12D3","addresses":[]{more}}}"#);
            let identity: Identity = serde_json::from_str(&text).unwrap();
            (identity.gas_address, identity.signer_address)
        };
        assert_eq!(read(""), (None, None));
        assert_eq!(read(&format!(r#","gas_address":"{address}","signer_address":null"#)), (Some(address), None));
        assert_eq!(read(&format!(r#","signer_address":"{address}""#)), (None, Some(address)));
    }

    #[tokio::test]
    async fn a_missing_or_foreign_executable_is_refused() {
        let missing = Lucid::find(Some(Path::new("/nonexistent/lucid"))).await.unwrap_err().to_string();
        assert!(missing.contains("cargo build --bins"), "{missing}");
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("lucid");
        std::fs::write(&other, "#!/bin/sh\necho '{\"version\":\"0.1.0\",\"build\":\"another\"}'\n").unwrap();
        std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let foreign = Lucid::find(Some(&other)).await.unwrap_err().to_string();
        assert!(foreign.contains("is of build another"), "{foreign}");
    }
}
