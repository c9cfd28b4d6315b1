//! The payout tree and the digests as docs/src/payout-vault.md has them, written a second time: not from the contract.

use lucid_tron_devnet::{Address, token};
use lucid_tron_types::keccak256;

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

    pub(super) fn leaf(&self) -> Word {
        keccak256(&keccak256(self.words().as_flattened()))
    }
}

/// What fills the leaves up to a power of two.
pub(super) fn padding() -> Word {
    keccak256(b"PayoutVault padding")
}

/// A tree, from the padded leaves to the root.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    rows: Vec<Vec<Word>>,
}

impl Tree {
    pub(super) fn new(items: &[Item]) -> Self {
        let mut row: Vec<Word> = items.iter().map(Item::leaf).collect();
        row.resize(row.len().next_power_of_two(), padding());
        let mut rows = vec![row];
        while let Some(below) = rows.last().filter(|row| row.len() > 1) {
            let above = below.chunks(2).map(|pair| node(pair[0], pair[1])).collect();
            rows.push(above);
        }
        Self { rows }
    }

    pub(super) fn leaves(&self) -> &[Word] {
        &self.rows[0]
    }

    pub(super) fn root(&self) -> Word {
        self.rows[self.rows.len() - 1][0]
    }

    /// The hashes beside `n` leaves from `start` on, from the bottom up, left before right.
    pub(super) fn range(&self, start: usize, n: usize) -> Vec<Word> {
        let (mut start, mut end, mut proof) = (start, start + n, Vec::new());
        for row in &self.rows[..self.rows.len() - 1] {
            if start % 2 == 1 {
                proof.push(row[start - 1]);
            }
            if end % 2 == 1 {
                proof.push(row[end]);
            }
            (start, end) = (start / 2, end.div_ceil(2));
        }
        proof
    }
}

fn node(a: Word, b: Word) -> Word {
    let pair = if a < b { [a, b] } else { [b, a] };
    keccak256(pair.as_flattened())
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
