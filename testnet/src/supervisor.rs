//! The children of `up`: started, killed, started again, and stopped in order.
//!
//! Single owner: whoever holds the [`Supervisor`] is the parent of every process of the network. It decides nothing;
//! an unexpected end of a child is reported by [`Supervisor::next_exit`].

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::process::{self, Exit, Spec, StartError};

/// Why a child was not started or killed.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// No such name.
    #[error("there is no node \"{name}\"; the names are {known}")]
    Unknown {
        /// The given name.
        name: String,
        /// All names.
        known: String,
    },
    /// It runs already.
    #[error("{name} is running (process {pid})")]
    Running {
        /// Which one.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// It does not run.
    #[error("{name} is not running")]
    NotRunning {
        /// Which one.
        name: String,
    },
    /// It could not be started.
    #[error("start {name}")]
    Start {
        /// Which one.
        name: String,
        /// Why.
        #[source]
        source: StartError,
    },
}

#[derive(Debug)]
struct Running {
    pid: u32,
    signals: mpsc::Sender<Signal>,
}

/// All children.
#[derive(Debug, Default)]
pub struct Supervisor {
    specs: BTreeMap<String, Spec>,
    running: BTreeMap<String, Running>,
    watches: JoinSet<Exit>,
}

impl Supervisor {
    /// Adds a child without starting it.
    pub fn add(&mut self, spec: Spec) {
        self.specs.insert(spec.name.clone(), spec);
    }

    /// Starts a child and returns its process id.
    ///
    /// # Errors
    /// The name is unknown, it runs already, or the system would not start it.
    pub fn start(&mut self, name: &str) -> Result<u32, SuperviseError> {
        let spec = self.spec(name)?;
        if let Some(running) = self.running.get(name) {
            return Err(SuperviseError::Running { name: name.into(), pid: running.pid });
        }
        let started = process::start(spec).map_err(|source| SuperviseError::Start { name: name.into(), source })?;
        self.running.insert(name.into(), Running { pid: started.pid, signals: started.signals });
        self.watches.spawn(started.watch.run());
        Ok(started.pid)
    }

    /// Kills a child with SIGKILL and returns its process id once it is gone.
    ///
    /// # Errors
    /// The name is unknown or it does not run.
    pub async fn kill(&mut self, name: &str) -> Result<u32, SuperviseError> {
        self.spec(name)?;
        let pid = self.pid(name).ok_or_else(|| SuperviseError::NotRunning { name: name.into() })?;
        self.stop(&[name.to_owned()], Duration::ZERO).await;
        Ok(pid)
    }

    /// The process id of a child that runs.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.running.get(name).map(|running| running.pid)
    }

    /// How a child is started.
    pub fn spec(&self, name: &str) -> Result<&Spec, SuperviseError> {
        self.specs.get(name).ok_or_else(|| SuperviseError::Unknown {
            name: name.into(),
            known: self.specs.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// The next child that ends; waits for ever while none runs.
    pub async fn next_exit(&mut self) -> Exit {
        match self.reap().await {
            Some(exit) => exit,
            None => std::future::pending().await,
        }
    }

    /// Stops children: SIGTERM, and SIGKILL for those that still run after `grace`. Returns the names of these.
    pub async fn stop(&mut self, names: &[String], grace: Duration) -> Vec<String> {
        let deadline = Instant::now() + grace;
        if !grace.is_zero() {
            self.signal(names, Signal::SIGTERM);
            while self.any_runs(names) {
                if timeout_at(deadline, self.reap()).await.is_err() {
                    break;
                }
            }
        }
        let late: Vec<_> = names.iter().filter(|name| self.running.contains_key(*name)).cloned().collect();
        self.signal(&late, Signal::SIGKILL);
        while self.any_runs(&late) && self.reap().await.is_some() {}
        late
    }

    fn any_runs(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.running.contains_key(name))
    }

    fn signal(&self, names: &[String], signal: Signal) {
        for running in names.iter().filter_map(|name| self.running.get(name)) {
            // Full only when four signals are under way to a child that has not been polled since; one more adds
            // nothing. Closed when the child has ended.
            let _ = running.signals.try_send(signal);
        }
    }

    async fn reap(&mut self) -> Option<Exit> {
        let exit = self.watches.join_next().await?.ok()?;
        self.running.remove(&exit.name);
        Some(exit)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::path::Path;

    use super::*;

    fn shell(dir: &Path, name: &str, script: &str) -> Spec {
        Spec {
            name: name.into(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            log: dir.join(format!("{name}.log")),
        }
    }

    /// Waits until a child has written a line: it then runs its script.
    async fn written(log: &Path) {
        while std::fs::read_to_string(log).unwrap_or_default().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_end_is_reported_with_status_and_output() {
        let dir = tempfile::tempdir().unwrap();
        let mut supervisor = Supervisor::default();
        supervisor.add(shell(dir.path(), "a", "echo out; echo err >&2; exit 3"));
        supervisor.start("a").unwrap();
        let exit = supervisor.next_exit().await;
        assert_eq!((exit.name.as_str(), exit.status.unwrap().code()), ("a", Some(3)));
        assert_eq!(supervisor.pid("a"), None);
        assert_eq!(process::last_lines(&dir.path().join("a.log"), 1), "    err\n");
        assert_eq!(process::last_lines(&dir.path().join("a.log"), 9), "    out\n    err\n");
    }

    #[tokio::test]
    async fn kill_reaches_the_whole_group_and_start_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut supervisor = Supervisor::default();
        supervisor.add(shell(dir.path(), "a", "sleep 1000 & echo $!; wait"));
        let first = supervisor.start("a").unwrap();
        assert!(matches!(supervisor.start("a"), Err(SuperviseError::Running { pid, .. }) if pid == first));
        let log = dir.path().join("a.log");
        written(&log).await;
        let grandchild: i32 = std::fs::read_to_string(&log).unwrap().trim().parse().unwrap();
        assert_eq!(supervisor.kill("a").await.unwrap(), first);
        assert!(matches!(supervisor.kill("a").await, Err(SuperviseError::NotRunning { .. })));
        // The grandchild got the signal too: it is gone, or a zombie that its new parent has not yet reaped.
        let stat = format!("/proc/{grandchild}/stat");
        while let Ok(text) = std::fs::read_to_string(&stat) {
            if text.contains(") Z ") {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_ne!(supervisor.start("a").unwrap(), first);
        supervisor.stop(&["a".into()], Duration::ZERO).await;
    }

    #[tokio::test]
    async fn stop_asks_first_and_kills_who_does_not_listen() {
        let dir = tempfile::tempdir().unwrap();
        let mut supervisor = Supervisor::default();
        supervisor.add(shell(dir.path(), "polite", "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done"));
        supervisor.add(shell(dir.path(), "deaf", "trap '' TERM; echo up; while :; do sleep 0.01; done"));
        let names = ["polite".to_owned(), "deaf".to_owned()];
        for name in &names {
            supervisor.start(name).unwrap();
            written(&dir.path().join(format!("{name}.log"))).await;
        }
        let late = supervisor.stop(&names, Duration::from_millis(500)).await;
        assert_eq!(late, ["deaf"]);
        assert!(!supervisor.any_runs(&names));
    }

    #[tokio::test]
    async fn an_unknown_name_lists_the_known_ones() {
        let mut supervisor = Supervisor::default();
        supervisor.add(shell(Path::new("/tmp"), "worker-1", ""));
        let error = supervisor.start("worker-9").unwrap_err().to_string();
        assert_eq!(error, "there is no node \"worker-9\"; the names are worker-1");
        let mut supervisor = Supervisor::default();
        let missing = Spec { program: "/nonexistent/lucid".into(), ..shell(&std::env::temp_dir(), "x", "") };
        supervisor.add(missing);
        assert!(matches!(supervisor.start("x"), Err(SuperviseError::Start { .. })));
    }
}
