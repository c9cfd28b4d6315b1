//! A command in a file, to which everybody who must sign it adds a signature.
//!
//! The file is JSON and holds no secret. Whoever changes the command breaks the signatures; whoever signs sees what it does.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use lucid_consensus::ledger::command::SignedCommand;
use lucid_types::command::{Action, Command, Cosigner};
use lucid_types::id::{NetworkId, NodeId, PoolId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::signed::{MultiSigned, Signature};
use lucid_types::vault::SignerSet;
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
    key: PublicKey,
    signature: Signature,
}

/// Who signs a command, as far as it is known here.
pub(super) struct Signatories {
    /// Each of these keys must, as this.
    must: Vec<(PublicKey, &'static str)>,
    /// Some of these must.
    treasury: Option<Treasury>,
    /// Who says so.
    source: String,
}

/// A pool's treasury signers.
struct Treasury {
    era: u32,
    /// How many of them must sign.
    needed: usize,
    keys: Vec<PublicKey>,
}

/// The accounts whose current keys may have to sign a command.
pub(super) fn accounts(command: &Command, ledger: &HomeLedger) -> Vec<NodeId> {
    let mut accounts = vec![command.account];
    for cosigner in command.cosigners() {
        match cosigner {
            Cosigner::Account(account) => accounts.push(account),
            Cosigner::Treasury(pool) => {
                let pool = ledger.pool_of_id(&pool).into_iter();
                accounts.extend(pool.flat_map(|pool| &pool.vault.signers.members).map(|signer| signer.node));
            }
            Cosigner::Key(_) | Cosigner::PayoutKey => {}
        }
    }
    accounts
}

impl Signatories {
    /// Those of a command, as the home's ledger has them, with the account's payout key if it needs that and it is known.
    pub(super) fn of(
        command: &Command,
        ledger: &HomeLedger,
        payout_key: Option<PublicKey>,
        key_of: impl Fn(&NodeId) -> PublicKey,
    ) -> Self {
        let source = match ledger.unanswered {
            None => ledger.source.to_owned(),
            Some(_) => format!("{}; whether the signers were changed since is not known here", ledger.source),
        };
        let treasury = |pool: &PoolId| ledger.pool_of_id(pool).map(|pool| pool.vault.signers.clone());
        Self::with(command, treasury, payout_key, key_of, source)
    }

    fn with(
        command: &Command,
        treasury_of: impl Fn(&PoolId) -> Option<SignerSet>,
        payout_key: Option<PublicKey>,
        key_of: impl Fn(&NodeId) -> PublicKey,
        source: String,
    ) -> Self {
        let giver = if matches!(command.action, Action::Pool { .. }) { "owner" } else { "account" };
        let (mut must, mut treasury) = (vec![(key_of(&command.account), giver)], None);
        for cosigner in command.cosigners() {
            match cosigner {
                Cosigner::Key(key) if command.action.invite().is_some() => must.push((key, "key of the invite")),
                Cosigner::Key(key) => must.push((key, "next node key")),
                Cosigner::Account(node) if matches!(command.action, Action::Register(_)) => {
                    must.push((key_of(&node), "operator"));
                }
                Cosigner::Account(node) => must.push((key_of(&node), "next owner")),
                Cosigner::PayoutKey => must.extend(payout_key.map(|key| (key, "payout key"))),
                Cosigner::Treasury(pool) => {
                    treasury = treasury_of(&pool).map(|set| Treasury {
                        era: set.era,
                        needed: set.needed(),
                        keys: set.members.iter().map(|signer| key_of(&signer.node)).collect(),
                    });
                }
            }
        }
        Self { must, treasury, source }
    }

    /// As what a key signs.
    fn role(&self, key: &PublicKey) -> Option<String> {
        let named = self.must.iter().find(|(must, _)| must == key).map(|(_, role)| *role);
        let is_signer = self.treasury.as_ref().is_some_and(|set| set.keys.contains(key));
        match (named, is_signer) {
            (Some(role), true) => Some(format!("{role} and signer")),
            (Some(role), false) => Some(role.to_owned()),
            (None, true) => Some("signer".to_owned()),
            (None, false) => None,
        }
    }

    /// Whether a signature with this key is of any use.
    pub(super) fn has(&self, key: &PublicKey) -> bool {
        self.role(key).is_some()
    }

    /// Refuses a key that has no say in the command.
    pub(super) fn check_say(&self, key: &PublicKey) -> anyhow::Result<()> {
        let (giver, role) = self.must.first().context("nobody gives the command")?;
        ensure!(
            self.has(key),
            "the home's node key {key} has no say in this command, neither as {role} nor as one of those who sign it, too: use the home of \
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
        self.signatures.retain(|signature| signature.key != signed.signer);
        self.signatures.push(FileSignature { key: signed.signer, signature: signed.signature });
        self.signatures.sort_by_key(|signature| signature.key);
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

    pub(super) fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signatures.iter().any(|signature| signature.key == *key)
    }

    /// With which keys it is signed.
    pub(super) fn signed_by(&self) -> Vec<PublicKey> {
        self.signatures.iter().map(|signature| signature.key).collect()
    }

    /// The same without signatures.
    pub(super) fn unsigned(&self) -> Self {
        Self { signatures: Vec::new(), ..self.clone() }
    }

    /// As nodes take it.
    pub(super) fn signed(&self) -> SignedCommand {
        let signatures = self.signatures.iter().map(|signature| (signature.key, signature.signature));
        MultiSigned::collect(self.command.clone(), signatures)
    }

    /// Leaves out the signatures of those who have no say.
    pub(super) fn keep_only(&mut self, signatories: &Signatories) {
        self.signatures.retain(|signature| signatories.has(&signature.key));
    }

    /// Whose signatures are missing, in words.
    pub(super) fn missing(&self, signatories: &Signatories) -> Vec<String> {
        let must = signatories.must.iter().filter(|(key, _)| !self.is_signed_by(key));
        let mut missing: Vec<_> = must.map(|(key, role)| format!("the {role} {} signs", key.short())).collect();
        if let Some(Treasury { needed, keys, .. }) = &signatories.treasury {
            let (signed, open): (Vec<&PublicKey>, Vec<_>) = keys.iter().partition(|key| self.is_signed_by(key));
            let more = needed.saturating_sub(signed.len());
            if more > 0 {
                let open: Vec<_> = open.iter().map(|key| key.short()).collect();
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
        let role =
            |key| signatories.role(key).unwrap_or_else(|| "who has no say in it: its signature is left out".to_owned());
        let signed = self.signatures.iter().map(|it| ("signed by", format!("{}, {}", it.key, role(&it.key))));
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
    use lucid_types::vault::TreasurySigner;

    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed(&[seed; 32])
    }

    /// Signers 2 to 4, two of which must sign what needs them.
    fn signatories(file: &CommandFile) -> Signatories {
        let signer = |seed: u8| TreasurySigner {
            node: key(seed).account(),
            key_address: PayoutAddress::from_hash20([seed; 20]),
        };
        let set = SignerSet { era: 1, threshold: 2, members: (2..=4).map(signer).collect() };
        Signatories::with(file.command(), |_| Some(set.clone()), None, NodeId::first_key, "a test".to_owned())
    }

    /// A command of the pool's owner 1.
    fn file(action: PoolAction) -> CommandFile {
        let action = Action::Pool { pool: PoolId::from_bytes([2; 32]), action };
        let command = Command { account: key(1).account(), nonce: 1, until: UnixMillis::new(5), action };
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
