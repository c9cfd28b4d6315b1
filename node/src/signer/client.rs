//! The node's side of `lucid signer`: asks for a signature and shows the pool's row of the newest final state with its proof.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid_consensus::ledger::state::State;
use lucid_storage::Store;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::NetworkId;
use lucid_types::payout::{CosignReply, CosignRequest, TreasurySignature};
use lucid_types::sync::CertifiedHeader;
use lucid_types::time::Height;
use lucid_types::validator_sets::SetChange;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::chain::persist::{self, PersistError};
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
    /// The node cannot say how the validators have changed.
    #[error("read the changes of the validators")]
    SetChanges(#[source] PersistError),
    /// A reply to something else, or a refusal where there is nothing to refuse.
    #[error("the treasury signer answers: {0}")]
    Unexpected(String),
}

/// The changes of the validators by blocks above a height, by height.
type SetChangesAbove = Box<dyn Fn(Height) -> Result<Vec<SetChange>, PersistError> + Send + Sync>;

/// A treasury signer in a process of its own.
pub struct RemoteSigner {
    socket: PathBuf,
    network: NetworkId,
    set_changes: SetChangesAbove,
    /// By request, with the record that was signed. Locked while a signature is asked for: one at a time.
    given: Mutex<BTreeMap<CosignRequest, (Record, TreasurySignature)>>,
}

impl RemoteSigner {
    /// The signer that listens at `socket`.
    pub fn new(socket: &Path, network: NetworkId) -> Self {
        Self {
            socket: socket.to_path_buf(),
            network,
            set_changes: Box::new(|_| Ok(Vec::new())),
            given: Mutex::default(),
        }
    }

    /// The same, which is shown how the validators have changed by what a node has stored.
    pub fn with_store(self, store: Store) -> Self {
        Self {
            set_changes: Box::new(move |above| block_in_place(|| persist::set_changes(&store, above).collect())),
            ..self
        }
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
        if let Some(refusal) = self.show_validators(proof.height()).await? {
            return Ok(CosignReply::Refused(refusal));
        }
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

    /// Shows the signer the blocks before this height that have changed the validators since the last one that it knows. What it refuses,
    /// if it does.
    async fn show_validators(&self, before: Height) -> Result<Option<String>, RemoteError> {
        let known = self.status().await?.sets_through;
        let changes = (self.set_changes)(known).map_err(RemoteError::SetChanges)?;
        for change in changes.into_iter().filter(|change| change.block.header.height < before) {
            match self.ask(Ask::SetChange(Box::new(change))).await? {
                SignerReply::Status(_) => {}
                SignerReply::Refused(reason) => return Ok(Some(reason)),
                reply => return Err(unexpected(reply)),
            }
        }
        Ok(None)
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
