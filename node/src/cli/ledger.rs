//! What a pool owes, as a payout tree: from a file or the node.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use lucid_types::amount::MicroUsdt;
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot, PayoutTree, TreeHash};

use crate::api::model::{LedgerAccount, LedgerView};

/// Most bytes of a ledger's file: 100,000 accounts, generously.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A whole ledger with its tree.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) view: LedgerView,
    pub(super) accounts: Vec<OwedAccount>,
    pub(super) tree: PayoutTree,
}

impl Ledger {
    /// The ledger in a file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let name = file.display();
        let text = read(file).with_context(|| format!("{name} cannot be read"))?;
        Self::new(parse(&text).with_context(|| format!("{name} holds no ledger"))?)
            .with_context(|| format!("the ledger in {name} has no root"))
    }

    /// The tree of a ledger.
    pub(super) fn new(view: LedgerView) -> anyhow::Result<Self> {
        let account = |a: &LedgerAccount| OwedAccount { id: a.id, to: a.to, owed: a.owed_micro_usdt };
        let accounts: Vec<_> = view.accounts.iter().map(account).collect();
        let n = view.n_accounts.unwrap_or(accounts.len());
        ensure!(accounts.len() == n, "it holds {} of its {n} accounts; fetch the others too (offset)", accounts.len());
        let tree = PayoutTree::new(&accounts)?;
        if let Some(root) = view.root.filter(|root| *root != tree.root()) {
            bail!(
                "its accounts make the root {}, not {root}: they were changed, or stand in another order",
                tree.root()
            );
        }
        Ok(Self { view, accounts, tree })
    }

    /// Sum of all that is owed.
    pub(super) fn owed(&self) -> anyhow::Result<MicroUsdt> {
        let owed = MicroUsdt::sum(self.accounts.iter().map(|account| account.owed));
        owed.context("the accounts owe more than 64 bits hold")
    }

    /// An account's index.
    pub(super) fn index_of(&self, id: &AccountId) -> Option<usize> {
        self.accounts.iter().position(|account| account.id == *id)
    }

    /// An account's leaf with its proof.
    pub(super) fn item(&self, index: usize) -> Option<(OwedAccount, Vec<TreeHash>)> {
        self.accounts.get(index).copied().zip(self.tree.range_proof(index, 1))
    }

    /// Checks that this is the ledger whose root is posted.
    pub(super) fn check_posted(&self, settlement: u64, posted: Option<PayoutRoot>) -> anyhow::Result<()> {
        let Some(posted) = posted else { bail!("no root is posted at the vault; `lucid vault post` posts the newest") };
        ensure!(
            self.tree.root() == posted,
            "the ledger of settlement {} has the root {}, and posted at the vault is {posted} of settlement {settlement}: take \
             that settlement's ledger. If that is what this is, the posted root is not the ledger's, and signers' keys may be \
             stolen: have a signer pause the vault",
            self.view.settlement,
            self.tree.root()
        );
        Ok(())
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes)?;
    ensure!(u64::try_from(bytes.len()).is_ok_and(|n| n <= MAX_FILE_BYTES), "it has more than {MAX_FILE_BYTES} bytes");
    Ok(bytes)
}

fn parse(text: &[u8]) -> anyhow::Result<LedgerView> {
    if text.trim_ascii_start().starts_with(b"<") {
        bail!("it is a web page, not JSON; fetch the ledger itself");
    }
    serde_json::from_slice(text).map_err(|error| {
        let is_cut = error.is_eof();
        let error = anyhow::Error::from(error);
        if is_cut { error.context("it is cut off; fetch it again") } else { error }
    })
}
