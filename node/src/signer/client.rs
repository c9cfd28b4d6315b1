//! The node's side of `lucid signer`: asks for a signature and shows the pool's row of the newest final state with its proof.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid_consensus::ledger::state::State;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::NetworkId;
use lucid_types::payout::{CosignReply, CosignRequest, TreasurySignature};
use lucid_types::sync::CertifiedHeader;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::signer::proof::PoolProof;
use crate::signer::protocol::{Ask, FrameError, SignerReply, SignerRequest, SignerStatus, read_frame, write_frame};
use crate::signer::record::Record;

/// One request and its reply: the signer checks a certificate and waits for its disk twice.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Signatures that are remembered, so that whoever asks again costs neither this process nor the signer another proof.
const MAX_REMEMBERED: usize = 64;

/// The signer gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nothing listens.
    #[error("no treasury signer answers at {}: start it with `lucid signer run`, or correct treasury.socket", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection failed, or the other side is no signer of this release.
    #[error("talk to the treasury signer at {}", path.display())]
    Talk {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: FrameError,
    },
    /// It took too long.
    #[error("the treasury signer at {} has not answered for {} s", path.display(), TIMEOUT.as_secs())]
    TimedOut {
        /// The socket.
        path: PathBuf,
    },
    /// Its bytes are no reply.
    #[error("read the treasury signer's reply")]
    Reply(#[source] DecodeError),
    /// A reply to something else, or a refusal where there is nothing to refuse.
    #[error("the treasury signer answers: {0}")]
    Unexpected(String),
}

/// A treasury signer in a process of its own.
pub struct RemoteSigner {
    socket: PathBuf,
    network: NetworkId,
    /// By request, with the record that was signed. Locked while a signature is asked for: one at a time.
    given: Mutex<BTreeMap<CosignRequest, (Record, TreasurySignature)>>,
}

impl RemoteSigner {
    /// The signer that listens at `socket`.
    pub fn new(socket: &Path, network: NetworkId) -> Self {
        Self { socket: socket.to_path_buf(), network, given: Mutex::default() }
    }

    /// Who it is.
    ///
    /// # Errors
    /// It does not answer, or serves another network.
    pub async fn status(&self) -> Result<SignerStatus, RemoteError> {
        match self.ask(Ask::Status).await? {
            SignerReply::Status(status) => Ok(status),
            reply => Err(unexpected(reply)),
        }
    }

    /// Asks for a signature for a record of the state after `block`, which proves it. Before block 1 nothing is final.
    ///
    /// # Errors
    /// The signer does not answer. A refusal is an answer.
    pub async fn sign(
        &self,
        request: CosignRequest,
        state: &State,
        block: Option<&CertifiedHeader>,
    ) -> Result<CosignReply, RemoteError> {
        let mut given = self.given.lock().await;
        let id = request.pool();
        let Some(record) = state.pool(&id).and_then(|row| Record::asked(row, &request)) else {
            return Ok(CosignReply::NotFinal);
        };
        if let Some((_, signature)) = given.get(&request).filter(|(signed, _)| *signed == record) {
            return Ok(CosignReply::Signed(*signature));
        }
        let Some(proof) = block.and_then(|block| PoolProof::new(state, block, &id)) else {
            return Ok(CosignReply::NotFinal);
        };
        match self.ask(Ask::Sign { request, proof: Box::new(proof) }).await? {
            SignerReply::Signed(signature) => {
                if given.len() >= MAX_REMEMBERED {
                    given.clear();
                }
                given.insert(request, (record, signature));
                Ok(CosignReply::Signed(signature))
            }
            SignerReply::Refused(reason) => Ok(CosignReply::Refused(reason)),
            reply => Err(unexpected(reply)),
        }
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// The signer does not answer.
    pub async fn ask(&self, ask: Ask) -> Result<SignerReply, RemoteError> {
        let path = || self.socket.clone();
        let exchange = async {
            let connected = UnixStream::connect(&self.socket).await;
            let mut stream = connected.map_err(|source| RemoteError::Connect { path: path(), source })?;
            let talk = |source| RemoteError::Talk { path: path(), source };
            let request = encode(&SignerRequest { network: self.network, ask });
            write_frame(&mut stream, &request).await.map_err(talk)?;
            let reply = read_frame(&mut stream, SignerReply::MAX_BYTES).await.map_err(talk)?;
            let reply = reply.ok_or_else(|| talk(io::Error::from(io::ErrorKind::UnexpectedEof).into()))?;
            decode(&reply).map_err(RemoteError::Reply)
        };
        timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(RemoteError::TimedOut { path: path() }))
    }
}

fn unexpected(reply: SignerReply) -> RemoteError {
    RemoteError::Unexpected(match reply {
        SignerReply::Refused(reason) => reason,
        reply => format!("{reply:?}"),
    })
}
