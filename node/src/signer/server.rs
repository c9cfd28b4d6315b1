//! The signer's socket: who may connect, how many, how long.
//!
//! The socket's mode says who may ask, so that is the system's business; what is signed does not depend on who asks.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as blocking;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_types::codec::{Wire, decode, encode};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::signer::core::{SignerCore, check};
use crate::signer::files::folder_of;
use crate::signer::protocol::{FrameError, SignerReply, SignerRequest, read_frame, write_frame};

/// A node needs one. Each holds at most one request in memory.
const MAX_CONNECTIONS: usize = 8;
/// From one reply, or the connection's begin, to the last byte of the next request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For a reply to be taken.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Before a refusal is sent: bounds the log that a node can cause.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);
/// After the system refused a connection.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);

/// The socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Others could put a socket of their own there.
    #[error(
        "{} can be written by others (mode {mode:04o}): they could replace what lies there; run `chmod go-w {}` or choose \
         another folder", path.display(), path.display()
    )]
    LooseFolder {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another user's folder.
    #[error("{} belongs to another user; choose a folder of this process's user", .0.display())]
    ForeignFolder(PathBuf),
    /// Something else is there.
    #[error("{} exists and is no socket; choose another path with --socket", .0.display())]
    NoSocket(PathBuf),
    /// Somebody listens there.
    #[error("another process listens at {}; stop it, or choose another path with --socket", .0.display())]
    InUse(PathBuf),
    /// The system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_path_buf();
    move |source| SocketError::Io { operation, path, source }
}

/// Whether only this process's user, or root, can change what lies in a folder.
///
/// # Errors
/// Others can, or it is no folder.
pub fn check_folder(path: &Path) -> Result<(), SocketError> {
    let metadata = fs::metadata(path).map_err(io_error("look at", path))?;
    let mode = metadata.mode() & 0o7777;
    if ![0, Uid::effective().as_raw()].contains(&metadata.uid()) {
        return Err(SocketError::ForeignFolder(path.to_path_buf()));
    }
    if mode & 0o022 != 0 {
        return Err(SocketError::LooseFolder { path: path.to_path_buf(), mode });
    }
    Ok(())
}

/// A bound socket. Removed when dropped.
#[derive(Debug)]
pub struct Socket {
    listener: blocking::UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds a socket of mode 0600, or 0660 if `group` may use it, too. One that a process left that was killed is replaced.
    /// Changes the process's umask for a moment: other threads that make files must not run yet.
    ///
    /// # Errors
    /// The folder is not safe, or the path is in use.
    pub fn bind(path: &Path, group: bool) -> Result<Self, SocketError> {
        check_folder(folder_of(path))?;
        remove_stale(path)?;
        let mode = if group { 0o660 } else { 0o600 };
        let before = umask(Mode::S_IXUSR | Mode::S_IRWXG | Mode::S_IRWXO);
        let bound = blocking::UnixListener::bind(path);
        umask(before);
        let socket = Self { listener: bound.map_err(io_error("bind", path))?, path: path.to_path_buf() };
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io_error("set the mode of", path))?;
        Ok(socket)
    }

    /// Serves until `stop`. A signature that is being made is finished. Needs a runtime of several threads.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub async fn serve(&self, core: SignerCore, stop: CancellationToken) -> Result<(), SocketError> {
        let listen = || {
            let listener = self.listener.try_clone()?;
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        };
        let listener = listen().map_err(io_error("listen at", &self.path))?;
        let network = Arc::clone(core.network());
        let core = Arc::new(Mutex::new(core));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(error = &error as &dyn std::error::Error, "a connection's task failed");
                    }
                }
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, Arc::clone(&network), Arc::clone(&core)));
                    }
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                        sleep(ACCEPT_DELAY).await;
                    }
                }
            }
        }
        connections.shutdown().await;
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Who connects now is told so by the system; the next process replaces it anyway.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(io_error("look at", path))?,
    };
    if !metadata.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_path_buf()));
    }
    match blocking::UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(io_error("remove", path))
        }
        Err(error) => Err(io_error("connect to", path)(error)),
    }
}

/// Answers one peer's requests, one at a time.
async fn converse(mut stream: UnixStream, spec: Arc<ChainSpec>, core: Arc<Mutex<SignerCore>>) {
    loop {
        let read = timeout(REQUEST_TIMEOUT, read_frame(&mut stream, SignerRequest::MAX_BYTES)).await;
        let (reply, is_frame) = match read {
            Err(_) | Ok(Ok(None) | Err(FrameError::Io(_))) => return,
            Ok(Err(error)) => (SignerReply::refused(error.to_string()), false),
            // Checking a certificate and waiting for a disk take long enough to be kept from the other tasks.
            Ok(Ok(Some(bytes))) => (block_in_place(|| answer(&bytes, &spec, &core)), true),
        };
        if let SignerReply::Refused(reason) = &reply {
            tracing::warn!(reason, "refused");
            sleep(REFUSAL_DELAY).await;
        }
        let written = timeout(REPLY_TIMEOUT, write_frame(&mut stream, &encode(&reply))).await;
        if !is_frame || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

fn answer(bytes: &[u8], spec: &ChainSpec, core: &Mutex<SignerCore>) -> SignerReply {
    let request: SignerRequest = match decode(bytes) {
        Ok(request) => request,
        Err(error) => return SignerReply::refused(format!("a request that cannot be read: {error}")),
    };
    let lock = || core.lock().unwrap_or_else(PoisonError::into_inner);
    let sets = lock().sets().clone();
    match check(spec, &sets, request) {
        Ok(checked) => lock().answer(&checked),
        Err(refusal) => refusal,
    }
}
