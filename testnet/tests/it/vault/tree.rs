//! The payout tree, which is the product's own, and the digests as docs/src/payout-vault.md has them.

use lucid_tron_devnet::{Address, token};
use lucid_tron_types::keccak256;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};

use super::abi::Word;

/// What a leaf says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) id: Word,
    pub(super) to: Address,
    pub(super) owed: u64,
}

impl Item {
    /// As it is encoded in call data.
    pub(super) fn words(&self) -> [Word; 3] {
        [self.id, token::address_word(self.to), token::number_word(self.owed)]
    }
}

/// The product's tree over items, if there are any.
#[derive(Clone, Debug)]
pub(super) struct Tree(Option<PayoutTree>);

impl Tree {
    pub(super) fn new(items: &[Item]) -> Self {
        let account = |item: &Item| OwedAccount {
            id: AccountId::from_bytes(item.id),
            to: PayoutAddress::from_hash20(item.to.0.0),
            owed: MicroUsdt::new(item.owed),
        };
        let accounts: Vec<_> = items.iter().map(account).collect();
        Self((!accounts.is_empty()).then(|| PayoutTree::new(&accounts).unwrap()))
    }

    pub(super) fn root(&self) -> Word {
        self.0.as_ref().map_or([0; 32], |tree| *tree.root().as_bytes())
    }

    /// The hashes beside `n` leaves from `start` on, from the bottom up, left before right.
    pub(super) fn range(&self, start: usize, n: usize) -> Vec<Word> {
        self.0
            .as_ref()
            .and_then(|tree| tree.range_proof(start, n))
            .unwrap_or_default()
            .iter()
            .map(|hash| *hash.as_bytes())
            .collect()
    }
}

/// What is signed for `postRoot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) settlement: u64,
    pub(super) root: Word,
    pub(super) total: u64,
    pub(super) fees: u64,
    pub(super) leader: Address,
    pub(super) until: u64,
}

/// The fields before all others: which chain, which vault, which era of signers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chain_id: u64,
    pub(super) vault: Address,
    pub(super) era: u64,
}

impl Place {
    fn digest(self, purpose: &str, fields: &[Word]) -> Word {
        let place = [
            keccak256(purpose.as_bytes()),
            token::number_word(self.chain_id),
            token::address_word(self.vault),
            token::number_word(self.era),
        ];
        keccak256([place.as_slice(), fields].concat().as_flattened())
    }

    pub(super) fn root_digest(self, root: &Root) -> Word {
        let number = token::number_word;
        self.digest(
            "PayoutVault root",
            &[
                number(root.settlement),
                root.root,
                number(root.total),
                number(root.fees),
                token::address_word(root.leader),
                number(root.until),
            ],
        )
    }

    pub(super) fn signers_digest(self, nonce: u64, threshold: u64, signers: &[Address]) -> Word {
        let list: Vec<Word> = signers.iter().map(|signer| token::address_word(*signer)).collect();
        let list = keccak256(list.as_flattened());
        self.digest("PayoutVault signers", &[token::number_word(nonce), token::number_word(threshold), list])
    }

    pub(super) fn limits_digest(self, nonce: u64, cap: u64, push_fee: u64) -> Word {
        self.digest("PayoutVault limits", &[nonce, cap, push_fee].map(token::number_word))
    }
}
