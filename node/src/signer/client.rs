//! The node's side of `lucid signer`: asks for a signature and shows the blocks that prove the record.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lucid_storage::Store;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::{NetworkId, PoolId};
use lucid_types::payout::{CosignReply, CosignRequest, TreasurySignature};
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::Height;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio::time::timeout;

use crate::signer::blocks::{self, BlocksError};
use crate::signer::protocol::{Ask, FrameError, SignerReply, SignerRequest, SignerStatus, read_frame, write_frame};

/// One request and its reply: the signer checks a certificate and waits for its disk twice.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Changes of signers that are shown for one request; the signer remembers them for the next.
const MAX_SHOWN: usize = 64;

/// Signatures that are remembered, so that whoever asks again costs neither this process nor the signer another block.
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
    /// The node's own blocks.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
}

/// A treasury signer in a process of its own.
pub struct RemoteSigner {
    socket: PathBuf,
    network: NetworkId,
    store: Store,
    /// By request, with the block that holds the record. Locked while a signature is asked for: one at a time.
    given: Mutex<BTreeMap<CosignRequest, (Height, TreasurySignature)>>,
}

impl RemoteSigner {
    /// The signer that listens at `socket`. The blocks that it wants to see come from `store`.
    pub fn new(socket: &Path, network: NetworkId, store: Store) -> Self {
        Self { socket: socket.to_path_buf(), network, store, given: Mutex::default() }
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

    /// Asks for a signature, and shows the block that holds the record and whatever else the signer has to see first.
    ///
    /// # Errors
    /// The signer does not answer, or this node's store fails. A refusal is an answer.
    pub async fn sign(&self, request: CosignRequest) -> Result<CosignReply, RemoteError> {
        let mut given = self.given.lock().await;
        let height = block_in_place(|| blocks::of_request(&self.store, &request)).map_err(BlocksError::from)?;
        let Some(height) = height else { return Ok(CosignReply::NotFinal) };
        if let Some((_, signature)) = given.get(&request).filter(|(at, _)| *at == height) {
            return Ok(CosignReply::Signed(*signature));
        }
        let reply = self.sign_in(request, height).await?;
        if let CosignReply::Signed(signature) = reply {
            if given.len() >= MAX_REMEMBERED {
                given.clear();
            }
            given.insert(request, (height, signature));
        }
        Ok(reply)
    }

    /// Asks for a signature for a record in the block at `height`.
    async fn sign_in(&self, request: CosignRequest, height: Height) -> Result<CosignReply, RemoteError> {
        let Some(decided) = block_in_place(|| blocks::decided(&self.store, height))? else {
            return Ok(CosignReply::NotFinal);
        };
        for _ in 0..MAX_SHOWN {
            let decided = Box::new(decided.clone());
            match self.ask(Ask::Sign { request, decided }).await? {
                SignerReply::Signed(signature) => return Ok(CosignReply::Signed(signature)),
                SignerReply::Refused(reason) => return Ok(CosignReply::Refused(reason)),
                SignerReply::MissingEra { pool, era } => {
                    let Some(change) = block_in_place(|| blocks::of_era(&self.store, &pool, era))? else {
                        return Ok(no_change(&pool, era));
                    };
                    self.show(change).await?;
                }
                reply => return Err(unexpected(reply)),
            }
        }
        Ok(CosignReply::Refused("the signer has to see many changes of signers; ask again".to_owned()))
    }

    async fn show(&self, decided: CertifiedBlock) -> Result<(), RemoteError> {
        match self.ask(Ask::Note(Box::new(decided))).await? {
            SignerReply::Noted => Ok(()),
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

fn no_change(pool: &PoolId, era: u32) -> CosignReply {
    CosignReply::Refused(format!("this node's store has no block with the signers of era {era} of pool {pool}"))
}
