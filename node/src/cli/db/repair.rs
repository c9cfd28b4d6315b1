//! `lucid db repair`: a store of what is sound of a damaged one.
//!
//! What can be read is salvaged into a store beside the damaged one; then its content is looked at, and what is not sound goes:
//!
//! ```text
//!  state = root of a sound block's header, and
//!  the changes of the validators lead to it?  ── yes ──▶ that block is the head; sound blocks after it are executed
//!      │ no                                           the base is where the run of sound blocks to the head begins
//!  sound blocks from block 1 on?           ── yes ──▶ they are executed from the genesis on
//!      │ no
//!      └──▶ no chain: the next start fetches a snapshot or the blocks from peers
//! ```
//!
//! The new store must pass the check before it takes the old one's place, and that one is kept.

use std::fmt::Write as _;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::execute::adopt;
use lucid_consensus::ledger::state::State;
use lucid_storage::{
    Head, MaintenanceError, OpenError, OwnKind, SalvageReport, SalvageWay, StorageError, Store, salvage, verify,
};
use lucid_types::block::{Block, Header};
use lucid_types::codec::{decode, encode};
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::Height;
use lucid_types::validator_sets::SetChange;
use serde_json::{Value, json};

use super::content::{Content, Run, look, own_name};
use super::progress::Progress;
use crate::chain::persist::{self, history_of};
use crate::chain::prune;
use crate::home::Home;

/// What became of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// State and head are as they were.
    Kept,
    /// The state was made from stored blocks after this one; 0 means from the genesis on.
    Replayed(Height),
    /// Everything is fetched from peers again.
    Removed,
    /// There was none yet.
    Empty,
}

/// What a repair did.
#[derive(Debug)]
pub(super) struct Repaired {
    /// How the damaged store could be read; none if not at all.
    pub(super) salvaged: Option<SalvageReport>,
    /// What became of the chain.
    pub(super) chain: Chain,
    /// The new store's head.
    pub(super) head: Option<Head>,
    /// The new store's base.
    pub(super) base: Height,
    /// Blocks that were removed because they were not sound, or below ones that were not.
    pub(super) removed_blocks: u64,
    /// History records that were removed.
    pub(super) removed_history: usize,
    /// Own records that were removed.
    pub(super) removed_own: Vec<OwnKind>,
    /// Entries of the engine's log of the next height.
    pub(super) logged: u64,
}

impl Repaired {
    /// Whether own records are lost, or may be older ones.
    pub(super) fn is_own_doubtful(&self) -> bool {
        !self.removed_own.is_empty() || self.is_lost("own")
    }

    /// Whether records of a family are lost, or may be older ones.
    fn is_lost(&self, family: &str) -> bool {
        is_lost(self.salvaged.as_ref(), family)
    }

    pub(super) fn to_json(&self) -> Value {
        let lost = |report: &SalvageReport| -> Vec<Value> {
            let lost =
                report.families.iter().flat_map(|family| family.lost.iter().map(move |lost| (family.family, lost)));
            lost.map(|(family, lost)| {
                json!({
                    "family": family,
                    "from": hex::encode(&lost.from),
                    "until": lost.until.as_ref().map(hex::encode),
                    "older_entries": lost.n_filled,
                    "why": lost.why,
                })
            })
            .collect()
        };
        json!({
            "way": self.salvaged.as_ref().map_or("nothing", |report| way(report.way)),
            "lost": self.salvaged.as_ref().map(lost).unwrap_or_default(),
            "chain": match self.chain {
                Chain::Kept => "kept",
                Chain::Replayed(_) => "replayed",
                Chain::Removed => "removed",
                Chain::Empty => "empty",
            },
            "replayed_after": match self.chain { Chain::Replayed(after) => Some(after), _ => None },
            "head": self.head.map(|head| json!({ "height": head.height, "block_hash": head.block_hash })),
            "base": self.base,
            "removed_blocks": self.removed_blocks,
            "removed_history": self.removed_history,
            "own_records_doubtful": self.is_own_doubtful(),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            // Into a String, which does not fail.
            let _ = writeln!(text, "  {words}");
        };
        match &self.salvaged {
            None => line("nothing could be read: the new store is empty".to_owned()),
            Some(report) => {
                line(way_told(report.way).to_owned());
                for family in report.families.iter().filter(|family| !family.lost.is_empty()) {
                    let filled = family.lost.iter().fold(0_u64, |sum, lost| sum.saturating_add(lost.n_filled));
                    let (name, n) = (family.family, family.lost.len());
                    line(format!(
                        "{name}: {n} ranges of keys could not be read; older tables had {filled} entries there"
                    ));
                }
            }
        }
        let head = self.head.map_or(Height::ZERO, |head| head.height);
        match self.chain {
            Chain::Kept => line(format!("the chain stays: blocks {} to {head}, and the state after {head}", self.base)),
            Chain::Replayed(Height::ZERO) => {
                line(format!("the state is made anew: blocks 1 to {head} were executed from the genesis on"));
            }
            Chain::Replayed(after) => line(format!("the state is that after block {head}: blocks after {after} were executed")),
            Chain::Removed => line(
                "the chain is removed, because the state or a change of the validators is damaged and the blocks from the genesis on are not all here: the next \
                 start fetches a snapshot or the blocks from peers"
                    .to_owned(),
            ),
            Chain::Empty => line("there is no block yet: the next start begins with the genesis".to_owned()),
        }
        if self.removed_blocks > 0 {
            line(format!("{} blocks below are removed", self.removed_blocks));
        }
        if self.removed_history > 0 || self.is_lost("history") {
            let what = if self.chain == Chain::Replayed(Height::ZERO) {
                "were written again from the blocks; vaults are read again from TRON, measurements of machines are lost"
            } else {
                "are lost: queries do not show them"
            };
            line(format!("history: records that could not be read {what}"));
        }
        if self.is_own_doubtful() {
            let kinds: Vec<_> = self.removed_own.iter().map(|kind| own_name(*kind)).collect();
            let which =
                if kinds.is_empty() { String::new() } else { format!(" (removed: those of {})", kinds.join(", ")) };
            line(format!("own records are lost, or may be older than the newest{which}"));
            line(
                "  score reports of epochs under way: those are not revealed, which costs this validator's say in them, not more"
                    .to_owned(),
            );
            line(
                "  transactions in flight: the pusher looks at the vault before it pays; nothing is paid twice"
                    .to_owned(),
            );
            line(
                "  a treasury signer that runs in this node (`treasury` in `roles`): keep it out of `roles` until the vault has a \
                 root of a settlement after the repair; `lucid signer` keeps its memory elsewhere and is not affected"
                    .to_owned(),
            );
        }
        text
    }
}

const fn way(way: SalvageWay) -> &'static str {
    match way {
        SalvageWay::Opened => "opened",
        SalvageWay::UpToDamage => "up_to_damage",
        SalvageWay::Tolerant => "tolerant",
        SalvageWay::Repaired => "repaired",
    }
}

const fn way_told(way: SalvageWay) -> &'static str {
    match way {
        SalvageWay::Opened => "the database opens; what can be read of it is copied",
        SalvageWay::UpToDamage => "RocksDB's log is read up to its damage: this is what the store once held",
        SalvageWay::Tolerant => {
            "damaged records and missing files are passed over: newer and older entries side by side"
        }
        SalvageWay::Repaired => "RocksDB's files are read without their manifest: entries may be older ones",
    }
}

fn is_lost(report: Option<&SalvageReport>, family: &str) -> bool {
    report.is_none_or(|report| {
        report.way != SalvageWay::Opened
            || report.families.iter().any(|found| found.family == family && !found.lost.is_empty())
    })
}

/// Makes a sound store at `target`, where there is nothing yet, of what the damaged one has. That one is not changed.
pub(super) fn repair(
    damaged: &Path,
    target: &Path,
    spec: &ChainSpec,
    progress: &mut Progress,
) -> anyhow::Result<Repaired> {
    progress.step("salvaging what can be read");
    let salvaged = match salvage(damaged, target) {
        Ok(report) => Some(report),
        // Not even RocksDB's repair could open it.
        Err(MaintenanceError::Open(OpenError::Open { .. } | OpenError::NotAStore { .. })) => None,
        Err(error) => return Err(error.into()),
    };
    let store = match &salvaged {
        Some(_) => Store::open_salvaged(target, *spec.id())?,
        None => Store::open(target, *spec.id())?,
    };
    let content = look(&store, spec, true, progress);
    progress.step("mending what is not sound");
    let mut repaired = mend(&store, spec, content, salvaged)?;
    // Where the state is another now, so are the scores that belong to it.
    store.write_history(&[], &look(&store, spec, false, progress).bad_history)?;
    drop(store);

    progress.step("checking the new store");
    let report = verify(target)?;
    let store = Store::open_read_only(target, *spec.id())?;
    let content = look(&store, spec, false, progress);
    let wrong = report
        .damages
        .iter()
        .map(ToString::to_string)
        .chain(content.unreadable.into_iter().chain(content.findings).map(|it| it.what));
    let wrong: Vec<_> = wrong.take(3).collect();
    if !wrong.is_empty() {
        bail!(
            "what was repaired does not pass the check ({}); restore a backup with `lucid db restore`, or move {} away: the next \
             start then fetches everything",
            wrong.join("; "),
            damaged.display()
        );
    }
    repaired.logged = content.logged;
    Ok(repaired)
}

/// Removes what is not sound from a salvaged store.
fn mend(
    store: &Store,
    spec: &ChainSpec,
    content: Content,
    salvaged: Option<SalvageReport>,
) -> Result<Repaired, StorageError> {
    let Content {
        runs,
        state,
        restored_changes,
        bad_changes,
        unknown_from,
        bad_headers,
        bad_history,
        unindexed,
        bad_own,
        bad_logs,
        bad_peers,
        counts,
        ..
    } = content;
    let is_history_lost = is_lost(salvaged.as_ref(), "history") || !bad_history.is_empty();
    store.write_history(&[], &bad_history)?;
    store.index_history(&unindexed)?;
    for (kind, key) in &bad_own {
        store.remove_own(*kind, key)?;
    }
    for peer in bad_peers {
        store.remove_peer(peer)?;
    }
    let mut wal = store.wal()?;
    bad_logs.into_iter().try_for_each(|height| wal.reset(height))?;
    drop(wal);

    let restored: Vec<_> =
        restored_changes.iter().map(|change| (change.block.header.height, encode::<SetChange>(change))).collect();
    store.mend_set_changes(&restored, &bad_changes)?;
    let had_chain = store.head().is_some() || counts.blocks > 0 || counts.rows > 0;
    let lost = Lost { history: is_history_lost, set_changes: unknown_from.is_some() };
    let chain = mend_chain(store, spec, &runs, state, &bad_headers, lost)?;
    let chain = if chain == Chain::Removed && !had_chain { Chain::Empty } else { chain };
    let n_blocks = store.block_entries().count();
    let is_removed = |kind: &OwnKind| bad_own.iter().any(|(removed, _)| removed == kind);
    let removed_own = OwnKind::ALL.into_iter().filter(is_removed).collect();
    let n_dropped = salvaged.as_ref().map_or(0, |report| report.n_dropped_blocks);
    let removed_blocks = counts.blocks.saturating_sub(u64::try_from(n_blocks).unwrap_or(0)).saturating_add(n_dropped);
    Ok(Repaired {
        salvaged,
        chain,
        head: store.head(),
        base: store.base(),
        removed_blocks,
        removed_history: bad_history.len(),
        removed_own,
        logged: 0,
    })
}

/// What follows from blocks and is lost.
#[derive(Clone, Copy)]
struct Lost {
    history: bool,
    set_changes: bool,
}

fn mend_chain(
    store: &Store,
    spec: &ChainSpec,
    runs: &[Run],
    state: Option<(State, Head)>,
    bad_headers: &[Height],
    lost: Lost,
) -> Result<Chain, StorageError> {
    bad_headers.iter().try_for_each(|height| store.remove_header(*height))?;
    let first = runs.first().filter(|run| run.first == Height::new(1));
    // All that follows from blocks is written again with a replay from the genesis on.
    let replays_all = first.is_some_and(|run| match &state {
        Some((state, _)) => (lost.history || lost.set_changes) && run.contains(state.height()),
        None => true,
    });
    let start = match state {
        _ if replays_all => (State::genesis(spec), None),
        Some((state, head)) if !lost.set_changes => (state, Some(head)),
        // Without the changes of the validators this node could show nobody who they are.
        _ => {
            store.forget_chain()?;
            return Ok(Chain::Removed);
        }
    };
    let (start, head) = start;
    let after = start.height();
    let run = runs.iter().find(|run| if replays_all { run.first == Height::new(1) } else { run.contains(after) });
    let (state, replayed) = match run {
        Some(run) if run.last > after => replay(store, spec, start, run.last)?,
        _ => (start, None),
    };
    let Some(head) = replayed.or(head) else {
        store.forget_chain()?;
        return Ok(Chain::Removed);
    };
    if replayed.is_some() {
        let rows = state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value));
        store.replace_state(rows)?;
    }
    let base = run.filter(|run| run.contains(head.height)).map_or(head.height.next(), |run| run.first);
    keep_headers(store, spec, runs, base)?;
    store.set_chain(head, base)?;
    Ok(if replayed.is_some() { Chain::Replayed(after) } else { Chain::Kept })
}

/// Executes stored blocks after a state up to `last`, and writes their history. The last that could be.
fn replay(
    store: &Store,
    spec: &ChainSpec,
    mut state: State,
    last: Height,
) -> Result<(State, Option<Head>), StorageError> {
    let mut head = None;
    for entry in store.block_entries() {
        let entry = entry?;
        if entry.height <= state.height() {
            continue;
        }
        let Ok(Some(decided)) = persist::decided(store, entry.height) else { break };
        if entry.height != state.height().next() || entry.height > last {
            break;
        }
        let Ok(decided) = CertifiedBlock::verify(decided, spec.id(), state.next_validators()) else { break };
        let Ok(applied) = adopt(spec, &state, &decided) else { break };
        store.write_history(&history_of(&decided.block, &applied), &[])?;
        if let Some(set) = persist::changed_set(&applied.state) {
            let change = SetChange { block: (&*decided).into(), set: set.clone() };
            store.mend_set_changes(&[(entry.height, encode(&change))], &[])?;
        }
        head = Some(Head { height: entry.height, block_hash: decided.block.hash() });
        state = applied.state;
    }
    Ok((state, head))
}

/// Keeps headers of sound blocks that are going to be removed, as pruning does.
fn keep_headers(store: &Store, spec: &ChainSpec, runs: &[Run], base: Height) -> Result<(), StorageError> {
    let mut parent: Option<Header> = None;
    for entry in store.block_entries() {
        let entry = entry?;
        if entry.height >= base {
            break;
        }
        let is_sound = runs.iter().any(|run| run.contains(entry.height));
        let Some(Block { header, .. }) = decode::<Block>(&entry.block).ok().filter(|_| is_sound) else {
            parent = None;
            continue;
        };
        if parent.as_ref().is_none_or(|parent| prune::is_kept(spec, parent, &header)) {
            store.put_header(entry.height, &encode(&header))?;
        }
        parent = Some(header);
    }
    Ok(())
}

/// Where a repaired store is made.
pub(super) fn workplace(home: &Home) -> anyhow::Result<PathBuf> {
    let target = home.repaired_db_dir();
    match std::fs::remove_dir_all(&target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove what an earlier repair left at {}", target.display()))
        }
        _ => Ok(target),
    }
}
