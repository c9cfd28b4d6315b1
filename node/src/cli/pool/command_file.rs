//! A command of a pool in a file, to which everybody who must sign it adds a signature.
//!
//! The file is JSON and holds no secret. Whoever changes the command breaks the signatures; whoever signs sees what it does.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use lucid_types::genesis::SignerSet;
use lucid_types::id::{NetworkId, NodeId};
use lucid_types::key::NodeKey;
use lucid_types::payout::PoolCommand;
use lucid_types::signed::{MultiSigned, Signature};
use serde::{Deserialize, Serialize};

use super::propose::{describe, displaced, done, hand_in, held_in, is_signer};
use crate::cli::act::{ConfirmArgs, say};
use crate::cli::place::{HomeLedger, now_s};
use crate::cli::values::when;
use crate::cli::{Context, output};

/// Far above what a command with all its signatures has.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct CommandFile {
    network_id: NetworkId,
    pool_name: String,
    command: PoolCommand,
    signatures: Vec<FileSignature>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    node: NodeId,
    signature: Signature,
}

/// Who must sign, and who says so.
pub(in crate::cli) struct Signers {
    pub(super) owner: NodeId,
    pub(super) set: SignerSet,
    pub(super) source: &'static str,
}

impl CommandFile {
    pub(super) fn new(ledger: &HomeLedger, pool_name: &str, command: PoolCommand) -> Self {
        let network_id = *ledger.spec.id();
        Self { network_id, pool_name: pool_name.to_owned(), command, signatures: Vec::new() }
    }

    /// Reads a file and checks that it is of this network and that its signatures are right.
    fn read(path: &Path, ledger: &HomeLedger) -> anyhow::Result<Self> {
        let read = || {
            let mut text = Vec::new();
            File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
            let file: Self = serde_json::from_slice(&text).context("it holds no command of a pool")?;
            let own = ledger.spec.id();
            ensure!(
                file.network_id == *own,
                "the command is for the network {}, and the home's is {own}",
                file.network_id
            );
            ensure!(ledger.spec.pool(&file.command.pool).is_some(), "the network has no pool {}", file.command.pool);
            if !file.signatures.is_empty() {
                file.signed()
                    .check(own)
                    .context("the command was changed after it was signed; take it from whoever made it")?;
            }
            Ok(file)
        };
        read().with_context(|| path.display().to_string())
    }

    pub(super) fn sign(&mut self, key: &NodeKey, network: &NetworkId) {
        let signed = key.sign_pool_command(network, self.command.clone()).into_inner();
        self.signatures.retain(|signature| signature.node != signed.signer);
        self.signatures.push(FileSignature { node: signed.signer, signature: signed.signature });
        self.signatures.sort_by_key(|signature| signature.node);
    }

    /// No block holds a command whose time is over.
    fn check_time(&self) -> anyhow::Result<()> {
        let until = self.command.until.get() / 1_000;
        ensure!(
            until > now_s(),
            "the command's time is over since {}: make and sign it anew, with a longer --valid-for",
            when(until, now_s())
        );
        Ok(())
    }

    fn is_signed_by(&self, node: &NodeId) -> bool {
        self.signatures.iter().any(|signature| signature.node == *node)
    }

    /// Who has signed it.
    pub(super) fn signed_by(&self) -> Vec<NodeId> {
        self.signatures.iter().map(|signature| signature.node).collect()
    }

    /// The same without signatures.
    pub(super) fn unsigned(&self) -> Self {
        Self { signatures: Vec::new(), ..self.clone() }
    }

    /// As nodes take it.
    pub(super) fn signed(&self) -> MultiSigned<PoolCommand> {
        let signatures = self.signatures.iter().map(|signature| (signature.node, signature.signature));
        MultiSigned::collect(self.command.clone(), signatures)
    }

    /// Whose signatures are missing, in words.
    pub(super) fn missing(&self, known: &Signers) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.is_signed_by(&known.owner) {
            missing.push(format!("the owner {} signs", known.owner.short()));
        }
        if self.command.change.needs_signers() {
            let signed = self.signatures.iter().filter(|signature| is_signer(&known.set, &signature.node)).count();
            let more = known.set.needed().saturating_sub(signed);
            if more > 0 {
                let open = known.set.members.iter().filter(|signer| !self.is_signed_by(&signer.node));
                let open: Vec<_> = open.map(|signer| signer.node.short()).collect();
                missing.push(format!("{more} of the signers {} sign", open.join(", ")));
            }
        }
        missing
    }

    /// What the command does and who has signed it.
    pub(super) fn text(&self, known: &Signers) -> String {
        let mut lines = vec![(
            "command",
            format!("number {} of the pool {} ({})", self.command.number, self.pool_name, self.command.pool),
        )];
        lines.extend(describe(&self.command.change));
        lines.push(("good", format!("until {}", when(self.command.until.get() / 1_000, now_s()))));
        for FileSignature { node, .. } in &self.signatures {
            let role = match (*node == known.owner, is_signer(&known.set, node)) {
                (true, true) => "owner and signer",
                (true, false) => "owner",
                (false, true) => "signer",
                (false, false) => "neither owner nor signer: its signature is left out",
            };
            lines.push(("signed by", format!("{node}, {role}")));
        }
        let missing = self.missing(known);
        lines.push(("still missing", if missing.is_empty() { "nothing".to_owned() } else { missing.join(", and ") }));
        lines.push(("by", format!("{}, era {}", known.source, known.set.era)));
        output::pairs(&lines)
    }

    fn json(&self) -> anyhow::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Writes a new file.
    pub(super) fn write_new(&self, path: &Path) -> anyhow::Result<()> {
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
            file.write_all(self.json()?.as_bytes())?;
            anyhow::Ok(file.sync_all()?)
        };
        write().with_context(|| format!("{} cannot be written; an existing file is left as it is", path.display()))
    }

    /// Replaces the file in one step: a crash leaves the old one or the new one.
    fn replace(&self, path: &Path) -> anyhow::Result<()> {
        let mut name = path.file_name().ok_or_else(|| anyhow!("{} is no file", path.display()))?.to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(self.json()?.as_bytes())?;
            file.sync_all()?;
            anyhow::Ok(fs::rename(&new, path)?)
        };
        write().with_context(|| format!("{} cannot be replaced", path.display()))
    }
}

/// The owner and signers of the command's pool, without asking a node.
fn by_genesis(file: &CommandFile, ledger: &HomeLedger) -> anyhow::Result<Signers> {
    let pool = ledger.spec.pool(&file.command.pool).context("the network has no such pool")?;
    let source = "the genesis; whether the signers were changed since is not known here";
    Ok(Signers { owner: pool.owner, set: pool.vault.signers.clone(), source })
}

/// Adds the home's signature.
pub(super) fn sign(path: &Path, confirm: &ConfirmArgs, context: &Context) -> anyhow::Result<()> {
    let home = context.home()?;
    let ledger = HomeLedger::open(home.clone())?;
    let key = home.load_key()?;
    let mut file = CommandFile::read(path, &ledger)?;
    file.check_time()?;
    let (known, me) = (by_genesis(&file, &ledger)?, key.node_id());
    if file.is_signed_by(&me) {
        bail!("this node has signed the command already");
    }
    let mut text = file.text(&known);
    if me != known.owner && !is_signer(&known.set, &me) {
        text.push_str(&format!(
            "\nThe home's node {me} was neither owner nor signer at first. If it has not become a signer since, its signature is of no \
             use, and left out when the command is handed in.\n"
        ));
    }
    text.push_str(&format!("\nYour signature as {me} {} added to {}.\n", confirm.will_be(), path.display()));
    if !confirm.confirm(&text)? {
        return done(confirm, &file, true, None);
    }
    file.sign(&key, ledger.spec.id());
    file.replace(path)?;
    let missing = file.missing(&known);
    if !confirm.json.json {
        output::print(&if missing.is_empty() {
            format!("signed; next: lucid pool submit-command --file {}\n", path.display())
        } else {
            format!("signed; next: {}\n", missing.join(", and "))
        })?;
    }
    done(confirm, &file, false, None)
}

/// Hands the command in.
pub(super) async fn submit(path: &Path, confirm: &ConfirmArgs, context: &Context) -> anyhow::Result<()> {
    let ledger = HomeLedger::open(context.home()?)?;
    let mut file = CommandFile::read(path, &ledger)?;
    let node = context.node()?;
    let view = node.pool(&file.command.pool).await?;
    let number = file.command.number;
    if number <= view.commands {
        // Whoever was interrupted asks again.
        let height = held_in(&node, &file.command).await?.ok_or_else(|| anyhow!(displaced(number)))?;
        say("a block holds the command already; there is nothing to send")?;
        return done(confirm, &file, confirm.dry_run, Some(height));
    }
    let next = view.commands.saturating_add(1);
    ensure!(
        number == next,
        "the pool's next command has the number {next}, and this one {number}: hand in those before it first"
    );
    file.check_time()?;
    let known = Signers { owner: view.owner, set: view.vault.signers.clone(), source: "the ledger" };
    let text = file.text(&known);
    file.signatures.retain(|signature| signature.node == known.owner || is_signer(&known.set, &signature.node));
    let missing = file.missing(&known);
    ensure!(missing.is_empty(), "nothing was sent, because signatures are missing: {}", missing.join(", and "));
    let text = format!("{text}\nIt {} sent: a block takes it, and nothing takes it back.\n", confirm.will_be());
    if !confirm.confirm(&text)? {
        return done(confirm, &file, true, None);
    }
    let height = hand_in(&node, &ledger, &file, Some(path)).await?;
    done(confirm, &file, false, Some(height))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::amount::MicroUsdt;
    use lucid_types::genesis::TreasurySigner;
    use lucid_types::id::{PayoutAddress, PoolId};
    use lucid_types::payout::PoolChange;
    use lucid_types::time::UnixMillis;

    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&[seed; 32])
    }

    /// Owner 1, signers 2 to 4, two of which must sign.
    fn known() -> Signers {
        let signer = |seed: u8| TreasurySigner {
            node: key(seed).node_id(),
            key_address: PayoutAddress::from_hash20([seed; 20]),
        };
        let set = SignerSet { era: 1, threshold: 2, members: (2..=4).map(signer).collect() };
        Signers { owner: key(1).node_id(), set, source: "a test" }
    }

    fn file(change: PoolChange) -> CommandFile {
        let command =
            PoolCommand { pool: PoolId::from_bytes([2; 32]), number: 1, until: UnixMillis::new(u64::MAX), change };
        CommandFile { network_id: NETWORK, pool_name: "local".to_owned(), command, signatures: Vec::new() }
    }

    #[test]
    fn everybody_adds_a_signature_until_none_is_missing() {
        let mut file = file(PoolChange::Losses(MicroUsdt::new(5)));
        assert_eq!(file.missing(&known()).len(), 2);
        for (seed, left) in [(3, 2), (1, 1), (3, 1), (4, 0)] {
            file.sign(&key(seed), &NETWORK);
            assert_eq!(file.missing(&known()).len(), left, "{seed}");
        }
        file.signed().check(&NETWORK).unwrap();
        let read: CommandFile = serde_json::from_str(&file.json().unwrap()).unwrap();
        assert_eq!(read, file);
        assert!(file.text(&known()).contains("still missing  nothing"));
    }

    #[test]
    fn the_owner_alone_suffices_for_what_is_its_own() {
        let mut file = file(PoolChange::Suspend(true));
        file.sign(&key(1), &NETWORK);
        assert!(file.missing(&known()).is_empty());
    }

    #[test]
    fn a_signature_of_somebody_else_is_shown() {
        let mut file = file(PoolChange::Suspend(true));
        file.sign(&key(9), &NETWORK);
        let text = file.text(&known());
        assert!(text.contains("is left out"), "{text}");
    }

    #[test]
    fn files_are_made_once_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("command.json");
        let mut file = file(PoolChange::Suspend(true));
        file.write_new(&path).unwrap();
        assert!(file.write_new(&path).unwrap_err().to_string().contains("left as it is"));
        file.sign(&key(1), &NETWORK);
        file.replace(&path).unwrap();
        let read: CommandFile = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
