//! The text of a proof: JSON, in one form only.
//!
//! The text follows from the proof: the order of the fields is that of the structures below, each level is two spaces deeper, and a
//! line end follows the last brace. Who reads one writes the text of what it has read, and refuses any other: other spaces, another
//! order, upper case in hex, a field twice or too many, and readable fields that are not those of the row's bytes. So nothing stands
//! in a document but what the certificate covers, what follows from that, and, where there is no row, the key that was asked for.

use lucid_consensus::ledger::pool::{Account, Hold};
use lucid_consensus::ledger::proof::{RowProof, ScoreProof};
use lucid_consensus::ledger::table::{Accounts, ScoreRoots, Table, Workers};
use lucid_score::score::Components;
use lucid_score::worker_stats::{ScoreRow, WorkerStats};
use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::block::Header;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::{BlockHash, Hash, NetworkId, NodeId, PayoutAddress, PoolId, ValidatorId};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use lucid_types::proof::{KeyProof, OtherLeaf, ProofStep};
use lucid_types::signed::Signature;
use lucid_types::sync::CertifiedHeader;
use lucid_types::time::Epoch;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::SetChange;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Proof, Statement};

/// No document is longer, in bytes: not that of the longest paths, the largest certificate, and a thousand changes of thirty validators.
pub const MAX_BYTES: usize = 32 << 20;

/// What a document names as its format.
const FORMAT: &str = "lucid/proof/1";

/// Why a text is no document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is longer than any.
    #[error("it has more than {MAX_BYTES} bytes, and no proof is so long")]
    TooLong,
    /// It is no JSON, or has other fields.
    #[error("it is no proof document")]
    Json(#[source] serde_json::Error),
    /// Of another version, or of another program.
    #[error("its format is {0:?}, and this version of lucid reads {FORMAT:?}")]
    Format(String),
    /// Bytes are no hex.
    #[error("`{part}` is no hex")]
    Hex {
        /// The field.
        part: &'static str,
        /// What is wrong.
        #[source]
        source: hex::FromHexError,
    },
    /// Bytes are no row of their table.
    #[error("the bytes in `{part}` are no row of this kind")]
    Row {
        /// The field.
        part: &'static str,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// A field is not what follows from the others.
    #[error("`{0}` does not follow from the rest of the document: it was changed")]
    Derived(&'static str),
    /// The same content in another text.
    #[error("line {0} is not as a proof is written: something was added, left out or put in another form")]
    NotCanonical(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Score,
    Owed,
    Account,
}

/// What says how to read the rest, in two steps: another format may have other kinds.
#[derive(Deserialize)]
struct FormatOnly {
    format: String,
}

#[derive(Deserialize)]
struct KindOnly {
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<C> {
    format: String,
    network: NetworkId,
    kind: Kind,
    claim: C,
    state: Lookup,
    scores: Option<Lookup>,
    set_changes: Vec<SetChangeFields>,
    header: Header,
    certificate: CertificateFields,
}

/// A block that changes the validators, and who they are from two heights above it on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetChangeFields {
    header: Header,
    certificate: CertificateFields,
    validators: ValidatorSet,
}

/// What is said, for people: the key's parts, and what the row's bytes mean.
#[derive(PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Claim {
    Score(ScoreClaim),
    Owed(OwedClaim),
    Account(AccountClaim),
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreClaim {
    epoch: Epoch,
    /// None if the epoch has no scores: then nothing is said of one worker alone.
    worker: Option<NodeId>,
    root: Option<Hash>,
    row: Option<ScoreFields>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreFields {
    score_ppm: Ppm,
    relay_credits: Credits,
    storage_credits: Credits,
    sharers: u16,
    credits: Credits,
    reachable_ms: u64,
    components: Components,
    success_ppm: Ppm,
    rtt_us: u64,
    echo_bytes: Option<u64>,
    echo_kbit_s: Option<u64>,
    proved_chunks: Option<u32>,
    network_group: Option<NetworkGroup>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwedClaim {
    pool: PoolId,
    account: AccountId,
    row: Option<OwedFields>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwedFields {
    kind: AccountKind,
    node: NodeId,
    address: PayoutAddress,
    owed_micro_usdt: MicroUsdt,
    requested_micro_usdt: MicroUsdt,
    held_micro_usdt: MicroUsdt,
    hold: HoldField,
    correction_micro_usdt: MicroUsdt,
}

/// `"no"`, `"ends"`, or `{ "since": SETTLEMENT }`.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HoldField {
    No,
    Since(u64),
    Ends,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountClaim {
    node: NodeId,
    row: Option<AccountFields>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountFields {
    measured_epoch: Epoch,
    credits: Credits,
    reachable_ms: u64,
    epochs: u64,
    session_ms: u64,
    kbit_s: u64,
    kbit_s_epoch: Epoch,
    utilisation_ppm: Ppm,
    utilisation_epoch: Epoch,
    quality_ppm: Ppm,
    trust_ppm: Ppm,
    score_ppm: Ppm,
}

/// What a tree says of a key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    key: String,
    value: Option<String>,
    steps: Vec<ProofStep>,
    other: Option<OtherFields>,
}

/// The leaf at which the lookup of an absent key ends.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherFields {
    key: String,
    value_hash: Hash,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateFields {
    block_hash: BlockHash,
    round: u32,
    votes: Vec<VoteFields>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VoteFields {
    key: ValidatorId,
    signature: Signature,
}

impl Proof {
    /// The document.
    #[expect(clippy::expect_used, reason = "structures of known fields, written into memory")]
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(&Document::of(self)).expect("a document is written");
        text.push('\n');
        text
    }

    /// What is said: `claim` of the document.
    pub fn claim(&self) -> impl Serialize + use<> {
        Document::of(self).claim
    }

    /// The proof of a document. Whether it holds, [`Self::verify`] says.
    ///
    /// # Errors
    /// It is no document, byte for byte.
    pub fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        if text.len() > MAX_BYTES {
            return Err(DocumentError::TooLong);
        }
        let document = Document::parse(text)?;
        let proof = document.proof()?;
        let again = Document::of(&proof);
        let changed_by = |document: &Document<Claim>| -> Vec<_> {
            document.set_changes.iter().map(|change| change.certificate.block_hash).collect()
        };
        let key = |lookup: &Option<Lookup>| lookup.as_ref().map(|lookup| lookup.key.clone());
        let derived = [
            ("claim", document.claim == again.claim),
            ("state.key", document.state.key == again.state.key),
            ("scores.key", key(&document.scores) == key(&again.scores)),
            ("certificate.block_hash", document.certificate.block_hash == again.certificate.block_hash),
            ("set_changes.certificate.block_hash", changed_by(&document) == changed_by(&again)),
        ];
        if let Some((part, _)) = derived.iter().find(|(_, is_right)| !is_right) {
            return Err(DocumentError::Derived(part));
        }
        let written = proof.text();
        if written.as_bytes() != text {
            let same = written.bytes().zip(text).take_while(|(a, b)| a == *b);
            return Err(DocumentError::NotCanonical(1 + same.filter(|(byte, _)| *byte == b'\n').count()));
        }
        Ok(proof)
    }
}

fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, DocumentError> {
    serde_json::from_slice(text).map_err(DocumentError::Json)
}

impl<C> Document<C> {
    fn map<D>(self, claim: impl FnOnce(C) -> D) -> Document<D> {
        let Self { format, network, kind, claim: of, state, scores, set_changes, header, certificate } = self;
        Document { format, network, kind, claim: claim(of), state, scores, set_changes, header, certificate }
    }
}

impl Document<Claim> {
    fn parse(text: &[u8]) -> Result<Self, DocumentError> {
        let FormatOnly { format } = json(text)?;
        if format != FORMAT {
            return Err(DocumentError::Format(format.chars().take(40).collect()));
        }
        let KindOnly { kind } = json(text)?;
        Ok(match kind {
            Kind::Score => json::<Document<ScoreClaim>>(text)?.map(Claim::Score),
            Kind::Owed => json::<Document<OwedClaim>>(text)?.map(Claim::Owed),
            Kind::Account => json::<Document<AccountClaim>>(text)?.map(Claim::Account),
        })
    }

    fn of(proof: &Proof) -> Self {
        let (kind, claim, state, scores) = match &proof.statement {
            Statement::Score { epoch, worker, row, proof } => {
                let ScoreProof { root, state, path } = proof;
                let row = row.as_ref();
                let claim =
                    ScoreClaim { epoch: *epoch, worker: Some(*worker), root: Some(*root), row: row.map(Into::into) };
                let state = Lookup::of(&ScoreRoots::key(epoch), Some(root), &state.path);
                (Kind::Score, Claim::Score(claim), state, Some(Lookup::of(worker.as_bytes(), row, path)))
            }
            Statement::NoScores { epoch, proof } => {
                let claim = ScoreClaim { epoch: *epoch, worker: None, root: None, row: None };
                let state = Lookup::of(&ScoreRoots::key(epoch), None::<&Hash>, &proof.path);
                (Kind::Score, Claim::Score(claim), state, None)
            }
            Statement::Owed { pool, account, row, proof } => {
                let claim = OwedClaim { pool: *pool, account: *account, row: row.as_ref().map(Into::into) };
                let state = Lookup::of(&Accounts::key(&(*pool, *account)), row.as_ref(), &proof.path);
                (Kind::Owed, Claim::Owed(claim), state, None)
            }
            Statement::Account { node, row, proof } => {
                let claim = AccountClaim { node: *node, row: row.as_ref().map(Into::into) };
                (Kind::Account, Claim::Account(claim), Lookup::of(&Workers::key(node), row.as_ref(), &proof.path), None)
            }
        };
        let certificate = CertificateFields::of(proof.block());
        let set_changes = proof.set_changes.iter().map(|SetChange { block, set }| SetChangeFields {
            header: block.header.clone(),
            certificate: CertificateFields::of(block),
            validators: set.clone(),
        });
        let (format, network, set_changes) = (FORMAT.to_owned(), proof.network, set_changes.collect());
        Self {
            format,
            network,
            kind,
            claim,
            state,
            scores,
            set_changes,
            header: proof.block().header.clone(),
            certificate,
        }
    }

    /// What the fields say that do not follow from others.
    fn proof(&self) -> Result<Proof, DocumentError> {
        let Self { network, claim, state, scores, .. } = self;
        let proof = RowProof { block: self.certificate.certify(&self.header), path: state.path("state.other.key")? };
        let statement = match (claim, scores) {
            (Claim::Score(ScoreClaim { epoch, worker: Some(worker), .. }), Some(scores)) => {
                let root: Hash = state.row("state.value")?.ok_or(DocumentError::Derived("scores"))?;
                let (path, row) = (scores.path("scores.other.key")?, scores.row("scores.value")?);
                let proof = ScoreProof { root, state: proof, path };
                Statement::Score { epoch: *epoch, worker: *worker, row, proof }
            }
            (Claim::Score(ScoreClaim { epoch, worker: None, .. }), None) if state.value.is_none() => {
                Statement::NoScores { epoch: *epoch, proof }
            }
            (Claim::Owed(OwedClaim { pool, account, .. }), None) => {
                Statement::Owed { pool: *pool, account: *account, row: state.row("state.value")?, proof }
            }
            (Claim::Account(AccountClaim { node, .. }), None) => {
                Statement::Account { node: *node, row: state.row("state.value")?, proof }
            }
            (Claim::Score(_), _) | (_, Some(_)) => return Err(DocumentError::Derived("scores")),
        };
        let set_change = |change: &SetChangeFields| {
            let block = change.certificate.certify(&change.header);
            SetChange { block, set: change.validators.clone() }
        };
        let set_changes = self.set_changes.iter().map(set_change).collect();
        Ok(Proof { network: *network, set_changes, statement })
    }
}

impl CertificateFields {
    fn of(CertifiedHeader { header, certificate }: &CertifiedHeader) -> Self {
        let vote = |(key, signature): &(ValidatorId, Signature)| VoteFields { key: *key, signature: *signature };
        let votes = certificate.signatures.iter().map(vote).collect();
        Self { block_hash: header.hash(), round: certificate.round, votes }
    }

    /// The header with this certificate.
    fn certify(&self, header: &Header) -> CertifiedHeader {
        let signatures = self.votes.iter().map(|vote| (vote.key, vote.signature)).collect();
        let certificate = Certificate { height: header.height, round: self.round, block: header.hash(), signatures };
        CertifiedHeader { header: header.clone(), certificate }
    }
}

impl Lookup {
    fn of<T: Serialize>(key: &[u8], row: Option<&T>, path: &KeyProof) -> Self {
        let other = |leaf: &OtherLeaf| OtherFields { key: hex::encode(&leaf.key), value_hash: leaf.value };
        Self {
            key: hex::encode(key),
            value: row.map(|row| hex::encode(encode(row))),
            steps: path.steps.clone(),
            other: path.other.as_ref().map(other),
        }
    }

    fn row<T: Wire>(&self, part: &'static str) -> Result<Option<T>, DocumentError> {
        let Some(value) = &self.value else { return Ok(None) };
        let bytes = hex::decode(value).map_err(|source| DocumentError::Hex { part, source })?;
        decode(&bytes).map(Some).map_err(|source| DocumentError::Row { part, source })
    }

    fn path(&self, part: &'static str) -> Result<KeyProof, DocumentError> {
        let leaf = |other: &OtherFields| {
            let key = hex::decode(&other.key).map_err(|source| DocumentError::Hex { part, source })?;
            Ok(OtherLeaf { key, value: other.value_hash })
        };
        Ok(KeyProof { steps: self.steps.clone(), other: self.other.as_ref().map(leaf).transpose()? })
    }
}

impl From<&ScoreRow> for ScoreFields {
    fn from(row: &ScoreRow) -> Self {
        Self {
            score_ppm: row.score,
            relay_credits: row.earned.relay,
            storage_credits: row.earned.storage,
            sharers: row.sharers,
            credits: row.credits,
            reachable_ms: row.reachable_ms,
            components: row.components,
            success_ppm: row.aggregate.success,
            rtt_us: row.aggregate.rtt_us,
            echo_bytes: row.aggregate.echo.map(|echo| echo.bytes),
            echo_kbit_s: row.aggregate.echo.map(|echo| echo.kbit_s),
            proved_chunks: row.aggregate.chunks,
            network_group: row.aggregate.group,
        }
    }
}

impl From<&Account> for OwedFields {
    fn from(row: &Account) -> Self {
        Self {
            kind: row.kind,
            node: row.node,
            address: row.to,
            owed_micro_usdt: row.owed,
            requested_micro_usdt: row.requested,
            held_micro_usdt: row.held,
            hold: match row.hold {
                Hold::No => HoldField::No,
                Hold::Since(settlement) => HoldField::Since(settlement),
                Hold::Ends => HoldField::Ends,
            },
            correction_micro_usdt: row.correction,
        }
    }
}

impl From<&WorkerStats> for AccountFields {
    fn from(row: &WorkerStats) -> Self {
        let sums = row.measured_sums();
        let ((kbit_s, kbit_s_epoch), (utilisation_ppm, utilisation_epoch)) = (row.kbit_s, row.utilisation);
        Self {
            measured_epoch: row.measured(),
            credits: sums.credits,
            reachable_ms: sums.reachable_ms,
            epochs: sums.epochs,
            session_ms: sums.session_ms,
            kbit_s,
            kbit_s_epoch,
            utilisation_ppm,
            utilisation_epoch,
            quality_ppm: row.quality,
            trust_ppm: row.trust,
            score_ppm: row.score,
        }
    }
}
