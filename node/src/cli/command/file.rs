//! A command in a file, to which everybody who must sign it adds a signature.
//!
//! The file is JSON and holds no secret. Whoever changes the command breaks the signatures; whoever signs sees what it does.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use lucid_consensus::ledger::command::SignedCommand;
use lucid_types::command::{Action, Command, Cosigner};
use lucid_types::genesis::{SignerSet, TreasurySigner};
use lucid_types::id::{NetworkId, NodeId, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::signed::{MultiSigned, Signature};
use serde::{Deserialize, Serialize};

use super::text::describe;
use crate::cli::output;
use crate::cli::place::{HomeLedger, now_s};
use crate::cli::values::when;

/// Far above what a command with all its signatures has.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandFile {
    network_id: NetworkId,
    command: Command,
    signatures: Vec<FileSignature>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSignature {
    node: NodeId,
    signature: Signature,
}

/// Who signs a command, as far as it is known here.
pub(super) struct Signatories {
    /// Each of them must, as this.
    must: Vec<(NodeId, &'static str)>,
    /// As many of these must as a payout root needs.
    treasury: Option<SignerSet>,
    /// Who says so.
    source: String,
}

impl Signatories {
    /// Those of a command, as the home's ledger has them, with the account's payout key if it needs that and it is known.
    pub(super) fn of(command: &Command, ledger: &HomeLedger, payout_key: Option<NodeId>) -> Self {
        let source = match ledger.unanswered {
            None => ledger.source.to_owned(),
            Some(_) => format!("{}; whether the signers were changed since is not known here", ledger.source),
        };
        let treasury = |pool: &PoolId| ledger.pool_of_id(pool).map(|pool| pool.vault.signers.clone());
        Self::with(command, treasury, payout_key, source)
    }

    fn with(
        command: &Command,
        treasury_of: impl Fn(&PoolId) -> Option<SignerSet>,
        payout_key: Option<NodeId>,
        source: String,
    ) -> Self {
        let giver = if matches!(command.action, Action::Pool { .. }) { "owner" } else { "account" };
        let (mut must, mut treasury) = (vec![(command.account, giver)], None);
        for cosigner in command.cosigners() {
            match cosigner {
                Cosigner::Key(key) => must.push((key, "key of the invite")),
                Cosigner::Account(node) if matches!(command.action, Action::Register(_)) => {
                    must.push((node, "operator"));
                }
                Cosigner::Account(node) => must.push((node, "next owner")),
                Cosigner::PayoutKey => must.extend(payout_key.map(|key| (key, "payout key"))),
                Cosigner::Treasury(pool) => treasury = treasury_of(&pool),
            }
        }
        Self { must, treasury, source }
    }

    /// As what a node signs.
    fn role(&self, node: &NodeId) -> Option<String> {
        let named = self.must.iter().find(|(must, _)| must == node).map(|(_, role)| *role);
        let is_signer = self.treasury.as_ref().is_some_and(|set| set.members.iter().any(|it| it.node == *node));
        match (named, is_signer) {
            (Some(role), true) => Some(format!("{role} and signer")),
            (Some(role), false) => Some(role.to_owned()),
            (None, true) => Some("signer".to_owned()),
            (None, false) => None,
        }
    }

    /// Whether a node's signature is of any use.
    pub(super) fn has(&self, node: &NodeId) -> bool {
        self.role(node).is_some()
    }

    /// Refuses a node that has no say in the command.
    pub(super) fn check_say(&self, node: &NodeId) -> anyhow::Result<()> {
        let (giver, role) = self.must.first().context("nobody gives the command")?;
        ensure!(
            self.has(node),
            "the home's node {node} has no say in this command, neither as {role} nor as one of those who sign it, too: use the home of \
             {giver}"
        );
        Ok(())
    }
}

impl CommandFile {
    pub(super) const fn new(network: &NetworkId, command: Command) -> Self {
        Self { network_id: *network, command, signatures: Vec::new() }
    }

    /// What is signed.
    pub(super) const fn command(&self) -> &Command {
        &self.command
    }

    /// Reads a file and checks that it is of this network and that its signatures are right.
    pub(super) fn read(path: &Path, own: &NetworkId) -> anyhow::Result<Self> {
        let read = || {
            let mut text = Vec::new();
            File::open(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
            let file: Self = serde_json::from_slice(&text).context("it holds no command")?;
            ensure!(
                file.network_id == *own,
                "the command is for the network {}, and the home's is {own}",
                file.network_id
            );
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
        let signed = key.sign_command(network, self.command.clone()).into_inner();
        self.signatures.retain(|signature| signature.node != signed.signer);
        self.signatures.push(FileSignature { node: signed.signer, signature: signed.signature });
        self.signatures.sort_by_key(|signature| signature.node);
    }

    /// No block holds a command whose time is over.
    pub(super) fn check_time(&self) -> anyhow::Result<()> {
        let until = self.command.until.get() / 1_000;
        ensure!(
            until > now_s(),
            "the command's time is over since {}: make and sign it anew, with a longer --valid-for",
            when(until, now_s())
        );
        Ok(())
    }

    pub(super) fn is_signed_by(&self, node: &NodeId) -> bool {
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
    pub(super) fn signed(&self) -> SignedCommand {
        let signatures = self.signatures.iter().map(|signature| (signature.node, signature.signature));
        MultiSigned::collect(self.command.clone(), signatures)
    }

    /// Leaves out the signatures of those who have no say.
    pub(super) fn keep_only(&mut self, signatories: &Signatories) {
        self.signatures.retain(|signature| signatories.has(&signature.node));
    }

    /// Whose signatures are missing, in words.
    pub(super) fn missing(&self, signatories: &Signatories) -> Vec<String> {
        let must = signatories.must.iter().filter(|(node, _)| !self.is_signed_by(node));
        let mut missing: Vec<_> = must.map(|(node, role)| format!("the {role} {} signs", node.short())).collect();
        if let Some(set) = &signatories.treasury {
            let (signed, open): (Vec<&TreasurySigner>, Vec<_>) =
                set.members.iter().partition(|it| self.is_signed_by(&it.node));
            let more = set.needed().saturating_sub(signed.len());
            if more > 0 {
                let open: Vec<_> = open.iter().map(|signer| signer.node.short()).collect();
                missing.push(format!("{more} of the signers {} sign", open.join(", ")));
            }
        }
        missing
    }

    /// What the command does and who has signed it.
    pub(super) fn text(&self, ledger: &HomeLedger, signatories: &Signatories) -> String {
        let Command { account, nonce, until, action } = &self.command;
        let mut lines = vec![("command", format!("number {nonce} of the account {account}"))];
        lines.extend(describe(action, ledger));
        lines.push(("good", format!("until {}", when(until.get() / 1_000, now_s()))));
        lines.extend(self.signed_text(signatories));
        output::pairs(&lines)
    }

    /// Who has signed it and who must.
    fn signed_text(&self, signatories: &Signatories) -> Vec<(&'static str, String)> {
        let role = |node| {
            signatories.role(node).unwrap_or_else(|| "who has no say in it: its signature is left out".to_owned())
        };
        let signed = self.signatures.iter().map(|it| ("signed by", format!("{}, {}", it.node, role(&it.node))));
        let mut lines: Vec<_> = signed.collect();
        let missing = self.missing(signatories);
        lines.push(("still missing", if missing.is_empty() { "nothing".to_owned() } else { missing.join(", and ") }));
        let era = signatories.treasury.as_ref().map_or_else(String::new, |set| format!(", era {}", set.era));
        lines.push(("by", format!("{}{era}", signatories.source)));
        lines
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
    pub(super) fn replace(&self, path: &Path) -> anyhow::Result<()> {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::amount::MicroUsdt;
    use lucid_types::id::PayoutAddress;
    use lucid_types::pool::PoolAction;
    use lucid_types::time::UnixMillis;

    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&[seed; 32])
    }

    /// Signers 2 to 4, two of which must sign what needs them.
    fn signatories(file: &CommandFile) -> Signatories {
        let signer = |seed: u8| TreasurySigner {
            node: key(seed).node_id(),
            key_address: PayoutAddress::from_hash20([seed; 20]),
        };
        let set = SignerSet { era: 1, threshold: 2, members: (2..=4).map(signer).collect() };
        Signatories::with(file.command(), |_| Some(set.clone()), None, "a test".to_owned())
    }

    /// A command of the pool's owner 1.
    fn file(action: PoolAction) -> CommandFile {
        let action = Action::Pool { pool: PoolId::from_bytes([2; 32]), action };
        let command = Command { account: key(1).node_id(), nonce: 1, until: UnixMillis::new(5), action };
        CommandFile::new(&NETWORK, command)
    }

    fn missing(file: &CommandFile) -> usize {
        file.missing(&signatories(file)).len()
    }

    fn text(file: &CommandFile) -> String {
        output::pairs(&file.signed_text(&signatories(file)))
    }

    #[test]
    fn everybody_adds_a_signature_until_none_is_missing() {
        let mut file = file(PoolAction::Losses(MicroUsdt::new(5)));
        assert_eq!(missing(&file), 2);
        for (seed, left) in [(3, 2), (1, 1), (3, 1), (4, 0)] {
            file.sign(&key(seed), &NETWORK);
            assert_eq!(missing(&file), left, "{seed}");
        }
        file.signed().check(&NETWORK).unwrap();
        let read: CommandFile = serde_json::from_str(&file.json().unwrap()).unwrap();
        assert_eq!(read, file);
        assert!(text(&file).contains("still missing  nothing"));
    }

    #[test]
    fn the_owner_alone_suffices_for_what_is_its_own() {
        let mut file = file(PoolAction::Suspend(true));
        file.sign(&key(1), &NETWORK);
        assert_eq!(missing(&file), 0);
    }

    #[test]
    fn a_signature_of_somebody_else_is_shown() {
        let mut file = file(PoolAction::Suspend(true));
        file.sign(&key(9), &NETWORK);
        let text = text(&file);
        assert!(text.contains("is left out"), "{text}");
    }

    #[test]
    fn files_are_made_once_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("command.json");
        let mut file = file(PoolAction::Suspend(true));
        file.write_new(&path).unwrap();
        assert!(file.write_new(&path).unwrap_err().to_string().contains("left as it is"));
        file.sign(&key(1), &NETWORK);
        file.replace(&path).unwrap();
        let read: CommandFile = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
