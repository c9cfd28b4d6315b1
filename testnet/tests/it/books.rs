//! What the ledger owes against what the local TRON network, read from its files, says that was paid.

use std::collections::BTreeMap;
use std::path::Path;

use lucid_testnet::funding::VAULT_FUNDS;
use lucid_tron_bridge::client::{Client, ClientConfig, ClientError, TransactionInfo};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, TxId};
use lucid_types::payout_tree::{AccountId, OwedAccount};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::harness::{Devnet, until};

/// Asks the local TRON network itself.
pub(crate) struct Chain {
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
}

impl Chain {
    pub(crate) fn at(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { client: Client::new(ClientConfig::new(url, None)).unwrap(), runtime }
    }

    pub(crate) fn ask<T>(&self, question: impl Future<Output = Result<T, ClientError>>) -> T {
        self.runtime.block_on(question).unwrap()
    }

    /// The receipt of a transaction that a block includes, solidified or not.
    pub(crate) fn receipt(&self, tx_id: &TxId) -> Option<TransactionInfo> {
        self.ask(self.client.transaction_info(tx_id))
    }

    /// Waits until a transaction has been carried out.
    #[track_caller]
    pub(crate) fn carried_out(&self, tx_id: &TxId) -> TransactionInfo {
        let info = until("a transaction in a block", || self.receipt(tx_id));
        assert!(info.is_success(), "{info:?}");
        info
    }

    pub(crate) fn vault(&self, vault: &PayoutAddress, ids: &[AccountId]) -> VaultSnapshot {
        self.ask(self.client.head_vault_snapshot(vault, ids))
    }
}

/// What the ledger owes, and what a chain says that was paid.
#[derive(Debug)]
pub(crate) struct Books {
    owed: Vec<OwedAccount>,
    paid: BTreeMap<AccountId, MicroUsdt>,
    balances: BTreeMap<PayoutAddress, MicroUsdt>,
    /// Of those who pushed or claimed.
    fees: Vec<MicroUsdt>,
    vault: VaultSnapshot,
}

impl Books {
    /// Reads the files of a network that has ended, with a process of its own.
    pub(crate) fn read(dir: &Path, ledger: &Value) -> Self {
        let files = dir.join("tron/chain");
        let again = ["--block-time", "1s", "--solid-lag", "3", "--no-usdt", "--dir", files.to_str().unwrap()];
        let devnet = Devnet::start(&again);
        let chain = Chain::at(devnet.url());
        let genesis: Value = toml::from_str(&std::fs::read_to_string(dir.join("genesis.toml")).unwrap()).unwrap();
        let address = |value: &Value| value.as_str().unwrap().parse::<PayoutAddress>().unwrap();
        let vault: Value = toml::from_str(&std::fs::read_to_string(dir.join("owner/vault.toml")).unwrap()).unwrap();
        let vault = address(&vault["pool"]["vault"]["address"]);
        let usdt = address(&genesis["tron"]["usdt"]);
        let owed = accounts(ledger);
        let ids: Vec<_> = owed.iter().map(|account| account.id).collect();
        // Its blocks go on: all that was sent is in one, and that is the head.
        let vault = chain.vault(&vault, &ids);
        let balance = |of: &PayoutAddress| chain.ask(chain.client.token_balance(&usdt, of));
        let homes = std::fs::read_dir(dir).unwrap().map(|home| home.unwrap().path());
        let keys = homes.map(|home| home.join("gas.key")).filter(|key| key.exists());
        let gas = keys.map(|key| TronKey::load(&key).unwrap().address());
        Self {
            paid: vault.paid.iter().map(|(id, paid)| (*id, *paid)).collect(),
            balances: owed.iter().map(|account| (account.to, balance(&account.to))).collect(),
            fees: gas.map(|gas| balance(&gas)).collect(),
            owed,
            vault,
        }
    }

    /// Everybody has got what the ledger owes him, and nobody anything else.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.check_but(MicroUsdt::ZERO);
    }

    /// The same but for what is not due: less than this to an account.
    #[track_caller]
    pub(crate) fn check_but(&self, threshold: MicroUsdt) {
        let sum = |amounts: Vec<MicroUsdt>| MicroUsdt::sum(amounts).unwrap();
        let paid = sum(self.paid.values().copied().collect());
        assert!(paid > MicroUsdt::ZERO && self.owed.len() > 1, "{self:?}");
        for account in &self.owed {
            let paid = self.paid[&account.id];
            let open = account.owed.checked_sub(paid);
            assert!(open.is_some_and(|open| open == MicroUsdt::ZERO || open < threshold), "{} {self:?}", account.id);
            assert_eq!(self.balances[&account.to], paid, "{} {self:?}", account.to);
        }
        let fees = sum(self.fees.clone());
        assert_eq!((self.vault.paid_out, self.vault.fees_paid), (paid, fees), "{self:?}");
        assert!(fees > MicroUsdt::ZERO, "{self:?}");
        assert_eq!(sum(vec![paid, fees, self.vault.funds]), VAULT_FUNDS, "{self:?}");
    }
}

/// The leaves of a ledger.
pub(crate) fn accounts(ledger: &Value) -> Vec<OwedAccount> {
    let leaves = ledger["accounts"].as_array().unwrap_or_else(|| panic!("{ledger}")).iter();
    leaves
        .map(|leaf| OwedAccount {
            id: leaf["id"].as_str().unwrap().parse().unwrap(),
            to: leaf["to"].as_str().unwrap().parse().unwrap(),
            owed: MicroUsdt::new(leaf["owed_micro_usdt"].as_u64().unwrap()),
        })
        .collect()
}
