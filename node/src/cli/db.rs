//! `lucid db`: looking after a node's store while the node does not run.

mod content;
mod progress;
mod repair;
#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what they count"
)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::table::TABLES;
use lucid_storage::{
    BackupInfo, Damage, FORMAT_VERSION, Head, OpenError, Stats, Store, backup_info, list_backups, lock_store,
    restore_backup, set_aside, verify,
};
use lucid_types::time::Height;
use serde_json::{Value, json};

use self::content::{Content, Finding, look};
use self::progress::Progress;
use crate::chain::persist;
use crate::chain::watermark::{Mark, Watermark};
use crate::chunks::{self, Checked, Owner};
use crate::cli::{Context, Json, output};
use crate::config::Role;
use crate::home::Home;

const STATS_EXAMPLE: &str = "\
Example:
  lucid db stats
  lucid --home /srv/lucid db stats --json";
const CHECK_EXAMPLE: &str = "\
Exit code 1 if anything is damaged; nothing is changed.

Example:
  lucid db check
  lucid db check --quick --json
  lucid db check --chunks";
const REPAIR_EXAMPLE: &str = "\
Without --yes the new store is made beside the old one, told about, and removed again. With --yes it takes the old one's place, which
is kept as db.damaged-TIME. Needs as much free space as the store has, and for a while twice as much.

Example:
  lucid db repair
  lucid db repair --yes";
const BACKUP_EXAMPLE: &str = "\
A backup is a folder of its own with a list of its files and their hashes. It holds no key and no watermark.

Example:
  lucid db backup
  lucid db backup /mnt/backups/lucid";
const RESTORE_EXAMPLE: &str = "\
Without --yes it is only said what would be done.

Example:
  lucid db restore 0000004321-000000098765 --yes
  lucid db restore /mnt/backups/lucid/0000004321-000000098765 --replace --yes";
const COMPACT_EXAMPLE: &str = "\
Example:
  lucid db compact";

#[derive(Debug, Subcommand)]
pub(super) enum DbAction {
    /// Show format, network, head, oldest block, and how large each family is
    #[command(after_help = STATS_EXAMPLE)]
    Stats(Json),
    /// Look at every byte and everything it means: blocks, certificates, state, history, own records, log
    #[command(after_help = CHECK_EXAMPLE)]
    Check {
        /// Do not check signatures
        #[arg(long)]
        quick: bool,
        /// Read the chunks, too, that validators have deposited
        #[arg(long)]
        chunks: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Make a sound store of what is left of a damaged one
    #[command(after_help = REPAIR_EXAMPLE)]
    Repair {
        /// Do it; otherwise it is only said what would be done
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Copy the store into a new folder below DIR, and read the copy back
    #[command(after_help = BACKUP_EXAMPLE)]
    Backup {
        /// Where backups are kept [default: HOME/backups]
        dir: Option<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    /// Make the store from a backup
    #[command(after_help = RESTORE_EXAMPLE)]
    Restore(RestoreArgs),
    /// Rewrite the store without what was replaced or removed
    #[command(after_help = COMPACT_EXAMPLE)]
    Compact(Json),
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The backup's folder, or its name below HOME/backups
    backup: PathBuf,
    /// Do it; otherwise it is only said what would be done
    #[arg(long)]
    yes: bool,
    /// Over a store that is there, which is kept as db.replaced-TIME
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    json: Json,
}

pub(super) fn db(action: DbAction, context: &Context) -> anyhow::Result<()> {
    let place = Place::of(context)?;
    match action {
        DbAction::Stats(json) => place.stats(json.json),
        DbAction::Check { quick, chunks, json } => place.check(!quick, chunks, json.json),
        DbAction::Repair { yes, json } => place.repair(yes, json.json),
        DbAction::Backup { dir, json } => place.backup(dir, json.json),
        DbAction::Restore(arguments) => place.restore(&arguments),
        DbAction::Compact(json) => place.compact(json.json),
    }
}

/// A home with its network.
struct Place {
    home: Home,
    spec: ChainSpec,
    /// Whether this node signs blocks, or may become one that does.
    is_validator: bool,
    /// Whether a treasury signer runs in this node.
    is_signer: bool,
}

impl Place {
    fn of(context: &Context) -> anyhow::Result<Self> {
        let home = context.home()?;
        ensure!(
            home.root().is_dir(),
            "there is no Lucid home at {}: `lucid init --home DIR` makes one, --home DIR names another",
            home.root().display()
        );
        let spec = ChainSpec::new(home.load_genesis()?.genesis).context("the genesis cannot be used")?;
        let config = context.configuration()?.config;
        let is_validator = config.has(Role::Validator);
        Ok(Self { is_signer: config.has(Role::Treasury) && config.holds_signer_key(), home, spec, is_validator })
    }

    /// The store's folder, which has something in it.
    fn db(&self) -> anyhow::Result<PathBuf> {
        let db = self.home.db_dir();
        ensure!(
            db.is_dir(),
            "there is no store at {}: this node has not run yet (`lucid run` makes one), or --home names another home",
            db.display()
        );
        Ok(db)
    }

    fn read(&self) -> anyhow::Result<Store> {
        Ok(Store::open_read_only(&self.db()?, *self.spec.id())?)
    }

    fn open(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.db()?, *self.spec.id())?)
    }

    /// What this validator has signed; none if it signs nothing.
    fn mark(&self) -> anyhow::Result<Option<Mark>> {
        if !self.is_validator {
            return Ok(None);
        }
        Ok(Watermark::read(&self.home.watermark_file(), *self.spec.id())?)
    }

    /// Refuses to give a validator a store from which it could sign again what it signed.
    fn need_mark(&self) -> anyhow::Result<Option<Mark>> {
        let mark = self.mark()?;
        ensure!(
            !self.is_validator || mark.is_some(),
            "{} is missing, and this node has the role of a validator: without it, nothing says what the validator has signed, and it could sign a \
             second time. Put the file back from where this home came from; if it is lost, docs/src/validator.md says what can be \
             done, or take validator out of `roles` to follow without a vote",
            self.home.watermark_file().display()
        );
        Ok(mark)
    }

    fn silence(&self, mark: Option<Mark>, head: Option<Head>, logged: u64) -> Silence {
        let head = head.map_or(Height::ZERO, |head| head.height);
        let through = mark.map_or(Height::ZERO, |mark| mark.silent_through(head, logged));
        Silence { is_validator: self.is_validator, through }
    }

    fn stats(&self, as_json: bool) -> anyhow::Result<()> {
        let (path, store) = (self.db()?, self.read()?);
        let stats = store.stats()?;
        let mut tables: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
        for row in store.state_rows() {
            let (key, value) = row?;
            let (rows, bytes) = tables.entry(key.first().copied().unwrap_or(u8::MAX)).or_default();
            *rows = rows.saturating_add(1);
            *bytes = bytes.saturating_add(length(key.len().saturating_add(value.len())));
        }
        let tables: Vec<_> = TABLES
            .iter()
            .map(|table| {
                let (rows, bytes) = tables.get(&table.tag).copied().unwrap_or_default();
                (table.name, rows, bytes)
            })
            .collect();
        let oldest = stats.head.filter(|head| stats.base <= head.height).map(|_| stats.base);
        if as_json {
            let families = stats.families.iter().map(|family| {
                json!({
                    "family": family.family,
                    "entries": family.n_entries,
                    "is_exact": family.is_exact,
                    "live_bytes": family.live_bytes,
                    "file_bytes": family.file_bytes,
                    "memory_bytes": family.memory_bytes,
                })
            });
            let tables =
                tables.iter().map(|(table, rows, bytes)| json!({ "table": table, "rows": rows, "bytes": bytes }));
            return output::json(&json!({
                "path": path,
                "format": FORMAT_VERSION,
                "network_id": self.spec.id(),
                "head": head_json(stats.head),
                "oldest_block": oldest,
                "disk_bytes": stats.folder_bytes,
                "families": families.collect::<Vec<_>>(),
                "state": tables.collect::<Vec<_>>(),
            }));
        }
        let mut text = output::pairs(&[
            ("store", path.display().to_string()),
            ("format", FORMAT_VERSION.to_string()),
            ("network", format!("{} ({})", self.spec.genesis().name, self.spec.id())),
            ("head", head_text(stats.head)),
            ("oldest block", oldest.map_or_else(|| "none is stored whole".to_owned(), |oldest| oldest.to_string())),
            ("on disk", format!("{} bytes", stats.folder_bytes)),
        ]);
        text.push('\n');
        text.push_str(&family_table(&stats));
        text.push('\n');
        let rows = tables.iter().map(|(name, rows, bytes)| [(*name).to_owned(), rows.to_string(), bytes.to_string()]);
        let rows: Vec<_> = rows.collect();
        text.push_str(&output::table(["table of the state", "rows", "bytes"], &rows));
        output::print(&text)
    }

    /// All that is wrong with the store, and what it holds if it opens.
    fn find(&self, path: &Path, thorough: bool, progress: &mut Progress) -> anyhow::Result<(Found, Option<Held>)> {
        progress.step("reading every byte");
        let report = verify(path)?;
        let entries = report.families.iter().map(|family| (family.family, family.n_entries, family.n_bytes)).collect();
        let mut found = Found { entries, findings: report.damages.into_iter().map(of_damage).collect() };
        let store = match Store::open_read_only(path, *self.spec.id()) {
            Ok(store) => store,
            // Nothing is wrong with it, and no repair makes it one for this home and program.
            Err(
                error
                @ (OpenError::WrongNetwork { .. } | OpenError::NewerFormat { .. } | OpenError::OlderFormat { .. }),
            ) => return Err(error.into()),
            Err(error) if found.findings.is_empty() => {
                let what = crate::payout::causes(&error);
                found.findings.push(Finding { family: None, file: None, what, remedy: SALVAGE });
                return Ok((found, None));
            }
            // Told already.
            Err(_) => return Ok((found, None)),
        };
        let content = look(&store, &self.spec, thorough, progress);
        if found.findings.is_empty() {
            found.findings.extend(content.unreadable.iter().cloned());
        }
        found.findings.extend(content.findings.iter().cloned());
        if self.is_validator {
            let boots = persist::boots(&store).unwrap_or(0);
            let mark = Watermark::read(&self.home.watermark_file(), *self.spec.id());
            let wrong = match &mark {
                Ok(None) if boots > 0 => Some("is missing, though this validator has started before".to_owned()),
                Ok(_) => None,
                Err(error) => Some(crate::payout::causes(error)),
            };
            if let Some(what) = wrong {
                let file = Some("validator-watermark".to_owned());
                let remedy =
                    "put it back from a copy of this home; docs/src/validator.md says what can be done if it is lost";
                found.findings.push(Finding { family: None, file, what, remedy });
            }
        }
        let held = Held { head: store.head(), base: store.base(), content };
        Ok((found, Some(held)))
    }

    /// What a check finds of the chunks that validators have deposited with this node: how many there are, and what is wrong.
    fn find_chunks(&self, progress: &mut Progress) -> anyhow::Result<(u64, Vec<Finding>)> {
        progress.step("reading every chunk");
        let owner = Owner { network: *self.spec.id(), worker: self.home.load_identity()?.account };
        let Checked { chunks, damaged, foreign } = {
            let _unused = lock_store(&self.db()?)?;
            chunks::check(&self.home.chunks_dir(), &owner)?
        };
        let file = |path: PathBuf| Some(path.display().to_string());
        let damaged = damaged.into_iter().map(|(path, place)| Finding {
            family: None,
            file: file(path),
            what: format!("chunk {place} is not what was deposited"),
            remedy: "the node cuts it off when it is asked for it, and validators deposit it again; look after the disk",
        });
        let foreign = foreign.into_iter().map(|path| Finding {
            family: None,
            file: file(path),
            what: "is no file of chunks of this worker, or cannot be read".to_owned(),
            remedy: "the next start removes it",
        });
        Ok((chunks, damaged.chain(foreign).collect()))
    }

    fn check(&self, thorough: bool, with_chunks: bool, as_json: bool) -> anyhow::Result<()> {
        let (path, mut progress) = (self.db()?, Progress::new());
        let (mut found, held) = self.find(&path, thorough, &mut progress)?;
        let n_of_store = found.findings.len();
        let chunks = with_chunks.then(|| self.find_chunks(&mut progress)).transpose()?;
        let chunks = chunks.map(|(chunks, findings)| {
            found.findings.extend(findings);
            chunks
        });
        let silence = match (&held, self.mark()) {
            (Some(held), Ok(mark)) => self.silence(mark, held.head, held.content.logged),
            _ => Silence::default(),
        };
        if as_json {
            output::json(&check_json(&path, thorough, &found, held.as_ref(), chunks, silence))?;
        } else {
            output::print(&check_text(thorough, &found, held.as_ref(), chunks, silence))?;
        }
        let things = |n: usize| if n == 1 { "1 thing is".to_owned() } else { format!("{n} things are") };
        ensure!(
            n_of_store == 0,
            "{} wrong with {}: `lucid db repair` says what it would keep and lose, `lucid db restore` takes a backup",
            things(n_of_store),
            path.display()
        );
        ensure!(
            found.findings.is_empty(),
            "{} wrong with {}: the store is sound, and the node mends its chunks by itself",
            things(found.findings.len()),
            self.home.chunks_dir().display()
        );
        Ok(())
    }

    fn repair(&self, yes: bool, as_json: bool) -> anyhow::Result<()> {
        let (path, mut progress) = (self.db()?, Progress::new());
        let (found, _) = self.find(&path, true, &mut progress)?;
        progress.end();
        // That file is no part of the store.
        let of_store = |finding: &&Finding| finding.file.as_deref() != Some("validator-watermark");
        if found.findings.iter().filter(of_store).count() == 0 {
            self.need_mark().or_else(|error| if found.findings.is_empty() { Ok(None) } else { Err(error) })?;
            return if as_json {
                output::json(&json!({ "path": path, "sound": true, "done": false }))
            } else {
                output::print("the store is sound: there is nothing to repair\n")
            };
        }
        let mark = self.need_mark()?;
        let target = repair::workplace(&self.home)?;
        let made = repair::repair(&path, &target, &self.spec, &mut progress);
        progress.end();
        let repaired = match made {
            Ok(repaired) => repaired,
            Err(error) => {
                // The damaged store is as it was; what was made of it is of no use.
                let _ = std::fs::remove_dir_all(&target);
                return Err(error.context(format!("cannot repair {}; it is as it was", path.display())));
            }
        };
        let silence = self.silence(mark, repaired.head, repaired.logged);
        let kept = aside(&path, "damaged");
        if yes {
            set_aside(&path, &kept)?;
            set_aside(&target, &path).with_context(|| {
                format!("the damaged store is {} and the repaired one {}", kept.display(), target.display())
            })?;
        } else {
            std::fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))?;
        }
        if as_json {
            return output::json(&json!({
                "path": path,
                "sound": false,
                "done": yes,
                "damaged": if yes { Some(&kept) } else { None },
                "findings": found.findings.iter().map(finding_json).collect::<Vec<_>>(),
                "repaired": repaired.to_json(),
                "silent_through": silence.to_json(),
            }));
        }
        let mut text = found.to_text();
        text.push_str(if yes { "repaired:\n" } else { "this would be done:\n" });
        text.push_str(&repaired.to_text());
        text.push_str(&silence.to_text());
        if yes {
            text.push_str(&format!(
                "the damaged store is kept as {}; remove it when the node runs well\n",
                kept.display()
            ));
        } else {
            text.push_str("nothing has been changed; `lucid db repair --yes` does it\n");
        }
        output::print(&text)
    }

    fn backup(&self, dir: Option<PathBuf>, as_json: bool) -> anyhow::Result<()> {
        let dir = dir.unwrap_or_else(|| self.backups());
        let store = self.open()?;
        let mut progress = Progress::new();
        progress.step("copying, and reading back");
        let made = store.backup(&dir);
        progress.end();
        let info = made?;
        if as_json {
            return output::json(&backup_json(&info));
        }
        let mut text = output::pairs(&[
            ("backup", info.path.display().to_string()),
            ("head", head_text(info.head)),
            ("size", format!("{} bytes", info.n_bytes)),
        ]);
        text.push_str(&format!("`lucid db restore {}` brings it back\n", info.path.display()));
        output::print(&text)
    }

    fn backups(&self) -> PathBuf {
        self.home.root().join("backups")
    }

    /// A backup by its folder, or by its name in the usual place.
    fn find_backup(&self, named: &Path) -> anyhow::Result<BackupInfo> {
        let usual = self.backups().join(named);
        let path = if !named.exists() && usual.exists() { usual } else { named.to_path_buf() };
        if path.exists() {
            return Ok(backup_info(&path)?);
        }
        let known = list_backups(&self.backups()).unwrap_or_default();
        let known: Vec<_> = known.iter().flatten().map(|info| info.path.display().to_string()).collect();
        let known = if known.is_empty() {
            format!("there are none in {}; `lucid db backup` makes one", self.backups().display())
        } else {
            format!("these are there: {}", known.join(", "))
        };
        bail!("there is no backup at {}: {known}", path.display())
    }

    fn restore(&self, arguments: &RestoreArgs) -> anyhow::Result<()> {
        let path = self.home.db_dir();
        let info = self.find_backup(&arguments.backup)?;
        ensure!(
            info.network == *self.spec.id(),
            "the backup {} is of network {}, and this home's genesis is that of network {}: choose another backup, or the home that it \
             was made of",
            info.path.display(),
            info.network,
            self.spec.id()
        );
        let mark = self.need_mark()?;
        let is_over = path.exists() && std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
        ensure!(
            !is_over || arguments.replace,
            "there is a store at {}: with --replace it is kept aside as db.replaced-TIME and the backup takes its place",
            path.display()
        );
        // Without the backup's log, which it takes a restore to read: with more entries, it is silent for one height less.
        let mut silence = self.silence(mark, info.head, 0);
        let kept = is_over.then(|| aside(&path, "replaced"));
        if arguments.yes {
            let new = self.home.restored_db_dir();
            if new.exists() {
                std::fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
            }
            if path.exists() {
                // Says who uses it, before anything is copied.
                drop(lock_store(&path)?);
            }
            restore_backup(&info.path, &new)?;
            let store = Store::open(&new, *self.spec.id())?;
            let next = store.head().map_or(Height::new(1), |head| head.height.next());
            let logged = store.wal()?.entries(next)?.len();
            silence = self.silence(mark, store.head(), length(logged));
            drop(store);
            match &kept {
                Some(kept) => set_aside(&path, kept)?,
                None if path.exists() => {
                    // It was empty; now it has the lock's file.
                    std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                }
                None => {}
            }
            set_aside(&new, &path).with_context(|| format!("the restored store is {}", new.display()))?;
        }
        if arguments.json.json {
            return output::json(&json!({
                "path": path,
                "done": arguments.yes,
                "replaced": kept,
                "backup": backup_json(&info),
                "silent_through": silence.to_json(),
            }));
        }
        let mut text = String::from(if arguments.yes { "restored:\n" } else { "this would be done:\n" });
        text.push_str(&format!("  {} becomes the store {}\n", info.path.display(), path.display()));
        text.push_str(&format!(
            "  its head is {}; the node fetches what came after it from peers\n",
            head_text(info.head)
        ));
        if let Some(kept) = kept {
            text.push_str(&format!("  the store that is there is kept as {}\n", kept.display()));
        }
        text.push_str(&silence.to_text());
        if self.is_signer {
            text.push_str(
                "  a treasury signer runs in this node: what it signed since the backup is not known any more. Keep `treasury` out of \
                 `roles` until the vault has a root of a later settlement; `lucid signer` keeps its memory elsewhere\n",
            );
        }
        if !arguments.yes {
            text.push_str("nothing has been changed; with --yes it is done\n");
        }
        output::print(&text)
    }

    fn compact(&self, as_json: bool) -> anyhow::Result<()> {
        let (store, mut progress) = (self.open()?, Progress::new());
        let before = store.stats()?.folder_bytes;
        store.compact(|family, done, total| progress.step(&format!("{family} ({done} of {total} families)")))?;
        progress.end();
        let after = store.stats()?.folder_bytes;
        if as_json {
            output::json(&json!({ "path": self.home.db_dir(), "bytes_before": before, "bytes_after": after }))
        } else {
            output::print(&format!("compacted: {before} bytes on disk before, {after} after\n"))
        }
    }
}

const SALVAGE: &str = "`lucid db repair` salvages what can be read";

/// What is wrong with a store.
struct Found {
    /// Families, with entries and bytes.
    entries: Vec<(&'static str, u64, u64)>,
    findings: Vec<Finding>,
}

impl Found {
    fn to_text(&self) -> String {
        let finding = |finding: &Finding| {
            let place = match (finding.family, &finding.file) {
                (Some(family), Some(file)) => format!("{family}, {file}: "),
                (Some(family), None) => format!("{family}: "),
                (None, Some(file)) => format!("{file}: "),
                (None, None) => String::new(),
            };
            format!("damage: {place}{}\n        {}\n", finding.what, finding.remedy)
        };
        self.findings.iter().map(finding).collect()
    }
}

/// What a store that opens holds.
struct Held {
    head: Option<Head>,
    base: Height,
    content: Content,
}

/// Until when a validator does not sign.
#[derive(Clone, Copy, Default)]
struct Silence {
    is_validator: bool,
    through: Height,
}

impl Silence {
    fn to_json(self) -> Option<Height> {
        (self.through > Height::ZERO).then_some(self.through)
    }

    fn to_text(self) -> String {
        if !self.is_validator {
            String::new()
        } else if self.through > Height::ZERO {
            format!(
                "  the validator has signed up to block {0}: its watermark keeps it silent until block {0} is decided\n",
                self.through
            )
        } else {
            "  the validator's watermark is no further than the store: it signs at once\n".to_owned()
        }
    }
}

fn of_damage(damage: Damage) -> Finding {
    Finding { family: damage.family, file: damage.file, what: damage.what, remedy: SALVAGE }
}

fn finding_json(finding: &Finding) -> Value {
    json!({ "family": finding.family, "file": finding.file, "what": finding.what, "remedy": finding.remedy })
}

fn check_json(
    path: &Path,
    thorough: bool,
    found: &Found,
    held: Option<&Held>,
    chunks: Option<u64>,
    silence: Silence,
) -> Value {
    let entries =
        |(family, entries, bytes): &(&str, u64, u64)| json!({ "family": family, "entries": entries, "bytes": bytes });
    let counts = held.map(|held| held.content.counts);
    json!({
        "path": path,
        "sound": found.findings.is_empty(),
        "signatures_checked": thorough,
        "head": head_json(held.and_then(|held| held.head)),
        "base": held.map(|held| held.base),
        "families": found.entries.iter().map(entries).collect::<Vec<_>>(),
        "checked": counts.map(|counts| json!({
            "blocks": counts.blocks,
            "headers": counts.headers,
            "rows": counts.rows,
            "history": counts.history,
            "own": counts.own,
            "log": counts.log,
        })),
        "chunks": chunks,
        "silent_through": silence.to_json(),
        "findings": found.findings.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn check_text(thorough: bool, found: &Found, held: Option<&Held>, chunks: Option<u64>, silence: Silence) -> String {
    let mut text = found.to_text();
    let Some(held) = held else {
        text.push_str("the store does not open, so what it holds was not looked at\n");
        return text;
    };
    let counts = held.content.counts;
    let signatures = if thorough { "with every signature" } else { "without signatures" };
    let mut pairs = vec![
        ("head", head_text(held.head)),
        ("blocks", format!("{} from {} on, {signatures}", counts.blocks, held.base)),
        ("kept headers", counts.headers.to_string()),
        ("rows of the state", counts.rows.to_string()),
        ("history records", counts.history.to_string()),
        ("own records", counts.own.to_string()),
        ("entries of the log", counts.log.to_string()),
    ];
    pairs.extend(chunks.map(|chunks| ("chunks", chunks.to_string())));
    text.push_str(&output::pairs(&pairs));
    if silence.through > Height::ZERO {
        text.push_str(silence.to_text().trim_start());
    }
    if found.findings.is_empty() {
        text.push_str("sound\n");
    }
    text
}

fn head_json(head: Option<Head>) -> Value {
    json!(head.map(|head| json!({ "height": head.height, "block_hash": head.block_hash })))
}

fn head_text(head: Option<Head>) -> String {
    head.map_or_else(|| "no block yet".to_owned(), |head| format!("{} {}", head.height, head.block_hash))
}

fn backup_json(info: &BackupInfo) -> Value {
    json!({
        "backup": info.path,
        "network_id": info.network,
        "head": head_json(info.head),
        "base": info.base,
        "bytes": info.n_bytes,
    })
}

fn family_table(stats: &Stats) -> String {
    let rows: Vec<_> = stats
        .families
        .iter()
        .map(|family| {
            let about = if family.is_exact { "" } else { "about " };
            let entries = format!("{about}{}", family.n_entries);
            [
                family.family.to_owned(),
                entries,
                family.live_bytes.to_string(),
                family.file_bytes.to_string(),
                family.memory_bytes.to_string(),
            ]
        })
        .collect();
    output::table(["family", "entries", "live bytes", "file bytes", "memory bytes"], &rows)
}

/// A free name beside the store for one that is replaced.
fn aside(path: &Path, why: &str) -> PathBuf {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = crate::utc::iso_8601(seconds.saturating_mul(1_000)).replace([':', '-'], "");
    let time = time.split('.').next().unwrap_or_default().to_owned();
    let named = |extra: u32| {
        let more = if extra == 0 { String::new() } else { format!("-{extra}") };
        path.with_added_extension(format!("{why}-{time}{more}"))
    };
    (0..1_000).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(1_000))
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
