//! One child process: how it is started, where its output goes, how it is signalled and awaited.
//!
//! A child leads a process group of its own, so that Ctrl-C in the terminal reaches only `up`, which stops its children
//! in order, and it dies with `up` (see [`crate::parent_death`]).

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::parent_death::die_with_parent;

/// How a child is started, as often as need be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What `kill` and `start` call it.
    pub name: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where its standard output and error are appended.
    pub log: PathBuf,
}

/// A child that was started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: u32,
    pub(crate) watch: Watch,
    /// Capacity 4: more signals than that at once are refused, see [`crate::supervisor`].
    pub(crate) signals: mpsc::Sender<Signal>,
}

/// Awaits a child's end and passes signals on to it meanwhile.
#[derive(Debug)]
pub(crate) struct Watch {
    name: String,
    child: Child,
    group: Pid,
    signals: mpsc::Receiver<Signal>,
}

/// The end of a child.
#[derive(Debug)]
pub struct Exit {
    /// Which one.
    pub name: String,
    /// Its status; `None` when the system would not tell.
    pub status: Option<ExitStatus>,
}

/// A child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its log could not be opened.
    #[error("open the log {}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program could not be started.
    #[error("start {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Variables of the environment that would change what a child does: settings of `lucid`, and proxies, which nothing
/// on 127.0.0.1 needs.
pub(crate) fn clean_environment(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("LUCID_") || name.to_ascii_uppercase().ends_with("_PROXY") {
            command.env_remove(&key);
        }
    }
}

/// Starts a child.
pub(crate) fn start(spec: &Spec) -> Result<Started, StartError> {
    let open = || -> io::Result<(File, File)> {
        let log = OpenOptions::new().create(true).append(true).open(&spec.log)?;
        Ok((log.try_clone()?, log))
    };
    let (stdout, stderr) = open().map_err(|source| StartError::Log { path: spec.log.clone(), source })?;
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
    clean_environment(&mut command);
    // Its output is a file.
    command.env("NO_COLOR", "1");
    die_with_parent(&mut command);
    let spawn_error = |source| StartError::Spawn { program: spec.program.clone(), source };
    let child = command.spawn().map_err(spawn_error)?;
    let pid = child.id().ok_or_else(|| spawn_error(io::ErrorKind::NotFound.into()))?;
    let group = i32::try_from(pid).map_err(|e| spawn_error(io::Error::other(e)))?;
    let (signals, receiver) = mpsc::channel(4);
    let watch = Watch { name: spec.name.clone(), child, group: Pid::from_raw(group), signals: receiver };
    Ok(Started { pid, watch, signals })
}

impl Watch {
    /// Runs until the child has ended. Signals go to its whole group, and never to a process that was reaped.
    pub(crate) async fn run(mut self) -> Exit {
        loop {
            tokio::select! {
                status = self.child.wait() => return Exit { name: self.name, status: status.ok() },
                Some(signal) = self.signals.recv() => {
                    if let Err(error) = killpg(self.group, signal) {
                        tracing::debug!(name = self.name, %signal, %error, "signal was not delivered");
                    }
                }
            }
        }
    }
}

/// The end of a log, for messages about a child that ended: at most `n_lines` lines of the last 8 KiB.
pub fn last_lines(log: &Path, n_lines: usize) -> String {
    const TAIL: u64 = 8 << 10;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(n_lines)).map(|line| format!("    {line}\n")).collect()
}
