//! The vault in memory, by `PayoutVault.sol`: what it pays, refuses and remembers. Calls come as call data.

use std::collections::BTreeSet;

use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::{SettlementRoot, TreasurySignature, VaultLimits};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot, TreeHash, range_root};

use crate::signature::recover;
use crate::trc20::TokenFlags;
use crate::vault::testing::new_vault;
use crate::vault::{Skip, VaultDomain, VaultRevert, VaultSnapshot, post_root, root_digest};

pub(super) const TOKEN: PayoutAddress = address(0xdd);

pub(super) const fn address(n: u8) -> PayoutAddress {
    let mut bytes = [n; 21];
    bytes[0] = PayoutAddress::PREFIX;
    match PayoutAddress::from_bytes(bytes) {
        Some(address) => address,
        None => panic!("the prefix is right"),
    }
}

pub(super) fn usdt(n: u64) -> MicroUsdt {
    MicroUsdt::new(n)
}

/// A vault and the token as it treats the vault.
#[derive(Clone, Debug)]
pub(super) struct Vault {
    pub(super) domain: VaultDomain,
    /// With what every account has had.
    pub(super) state: VaultSnapshot,
    pub(super) signers: BTreeSet<PayoutAddress>,
    pub(super) token: TokenFlags,
    /// Recipients that the token refuses, which USDT does not know.
    pub(super) refused: BTreeSet<PayoutAddress>,
    /// Energy for each item that is paid.
    pub(super) item_energy: u64,
    /// Energy for the transfer of a push fee.
    pub(super) fee_energy: u64,
}

/// What a call does.
pub(super) struct Done {
    pub(super) energy: u64,
    pub(super) result: Result<(), VaultRevert>,
}

impl Vault {
    pub(super) fn new(domain: VaultDomain, signers: BTreeSet<PayoutAddress>, threshold: u8) -> Self {
        let state = VaultSnapshot {
            threshold,
            limits: VaultLimits { cap: usdt(1 << 50), push_fee: usdt(10) },
            token: TOKEN,
            owner: address(0xaa),
            period: 600,
            ..new_vault()
        };
        let (token, refused) = (TokenFlags::default(), BTreeSet::new());
        Self { domain, state, signers, token, refused, item_energy: 25_000, fee_energy: 0 }
    }

    /// Something happens to the vault.
    pub(super) fn vex(&mut self, kind: u64, now_s: u64) {
        match kind % 8 {
            0 => self.state.signer_pause_until = now_s + 60,
            1 => self.token.paused = true,
            2 => self.state.funds = usdt(kind % 5_000),
            3 => self.state.limits.cap = usdt(2_000),
            4 => self.token.blacklisted = true,
            5 => self.refused = BTreeSet::from([address(u8::try_from(kind % 20).unwrap() + 1)]),
            _ => self.mend(),
        }
    }

    /// Nothing stands in the way of payments any more.
    pub(super) fn mend(&mut self) {
        self.token = TokenFlags::default();
        self.refused.clear();
        self.state.signer_pause_until = 0;
        self.state.funds = usdt(1 << 50);
        self.state.limits.cap = usdt(1 << 50);
    }

    /// The view that a snapshot of these accounts gives.
    pub(super) fn snapshot(&self, accounts: &[AccountId]) -> VaultSnapshot {
        let paid = accounts.iter().map(|id| (*id, self.paid(id))).collect();
        VaultSnapshot { paid, ..self.state.clone() }
    }

    pub(super) fn paid(&self, id: &AccountId) -> MicroUsdt {
        self.state.paid.get(id).copied().unwrap_or_default()
    }

    /// Runs call data as `sender` at this time in seconds. Nothing changes if it fails.
    pub(super) fn call(&mut self, sender: PayoutAddress, data: &[u8], now_s: u64) -> Done {
        let before = self.clone();
        let words: Vec<[u8; 32]> = data[4..]
            .chunks(32)
            .map(|word| {
                let mut padded = [0; 32];
                padded[..word.len()].copy_from_slice(word);
                padded
            })
            .collect();
        let (energy, result) = if data[..4] == post_root(&EMPTY, &Default::default())[..4] {
            (60_000, self.post(&words, &data[4..], now_s))
        } else {
            let (n_paid, result) = self.pay_range(sender, &words, now_s);
            let fee_energy = if self.state.fees_paid > before.state.fees_paid { self.fee_energy } else { 0 };
            (30_000 + n_paid * self.item_energy + fee_energy, result)
        };
        if result.is_err() {
            *self = before;
            return Done { energy: 20_000, result };
        }
        Done { energy, result }
    }

    fn post(&mut self, words: &[[u8; 32]], data: &[u8], now_s: u64) -> Result<(), VaultRevert> {
        let leader = Some(at(&words[4])).filter(|leader| leader.hash20() != [0; 20]);
        let root = SettlementRoot {
            settlement: number(&words[0]),
            root: PayoutRoot::from_bytes(words[1]),
            total: usdt(number(&words[2])),
            fees: usdt(number(&words[3])),
            leader,
            until: number(&words[5]),
            era: self.state.era,
            ..EMPTY
        };
        let (offset, n) = (index(&words[6]), index(&words[index(&words[6]) / 32]));
        let signatures = &data[offset + 32..offset + 32 + n];
        if self.state.is_closed(now_s) {
            return Err(VaultRevert::IsClosed);
        }
        let s = &self.state;
        if root.settlement <= s.settlement {
            let is_again = root.settlement == s.settlement
                && s.root == Some(root.root)
                && root.total >= s.total
                && root.fees >= s.fees
                && (root.leader, root.until) == (s.leader, s.until);
            if !is_again {
                return Err(VaultRevert::Stale { newest: s.settlement });
            }
        }
        if n != 65 * usize::from(s.threshold) {
            return Err(VaultRevert::BadSignatures);
        }
        let digest = root_digest(&self.domain, &root);
        let mut last = None;
        for signature in signatures.chunks(65) {
            let signature = TreasurySignature::from_bytes(signature.try_into().unwrap());
            let signer = recover(&signature, &digest).map_err(|_| VaultRevert::BadSignatures)?;
            if !self.signers.contains(&signer) || last >= Some(signer.hash20()) {
                return Err(VaultRevert::BadSignatures);
            }
            last = Some(signer.hash20());
        }
        let s = &mut self.state;
        (s.settlement, s.root, s.total, s.fees) = (root.settlement, Some(root.root), root.total, root.fees);
        (s.leader, s.until) = (root.leader, root.until);
        Ok(())
    }

    fn pay_range(&mut self, sender: PayoutAddress, words: &[[u8; 32]], now_s: u64) -> (u64, Result<(), VaultRevert>) {
        let (settlement, start) = (number(&words[0]), number(&words[1]));
        let (items, proof) = (index(&words[2]) / 32, index(&words[3]) / 32);
        let items: Vec<_> = words[items + 1..][..3 * index(&words[items])]
            .chunks(3)
            .map(|item| OwedAccount {
                id: AccountId::from_bytes(item[0]),
                to: at(&item[1]),
                owed: usdt(number(&item[2])),
            })
            .collect();
        let hashes = &words[proof + 1..][..index(&words[proof])];
        let proof: Vec<_> = hashes.iter().map(|hash| TreeHash::from_bytes(*hash)).collect();
        let mut n_paid = 0;
        let result = self.pay(sender, settlement, start, &items, &proof, now_s, &mut n_paid);
        (n_paid, result)
    }

    #[expect(clippy::too_many_arguments, reason = "those of the contract, and where it runs")]
    fn pay(
        &mut self,
        sender: PayoutAddress,
        settlement: u64,
        start: u64,
        items: &[OwedAccount],
        proof: &[TreeHash],
        now_s: u64,
        n_paid: &mut u64,
    ) -> Result<(), VaultRevert> {
        if self.state.is_closed(now_s) {
            return Err(VaultRevert::IsClosed);
        }
        if self.state.is_paused(now_s) {
            return Err(VaultRevert::IsPaused);
        }
        if settlement != self.state.settlement || self.state.root.is_none() {
            return Err(VaultRevert::Stale { newest: self.state.settlement });
        }
        if items.iter().all(|item| item.owed <= self.paid(&item.id)) {
            return Err(VaultRevert::NothingPaid(Skip::AlreadyPaid));
        }
        if range_root(start, items, proof) != self.state.root {
            return Err(VaultRevert::BadProof);
        }
        let limits = [
            (self.state.left_of_total(), Skip::OverTotal),
            (self.state.left_of_cap(now_s), Skip::OverCap),
            (self.state.funds, Skip::NoFunds),
        ];
        // Of several that are equally short the contract names the first.
        let (mut left, short) = limits.into_iter().min_by_key(|(left, _)| *left).unwrap();
        let (mut sent, mut last) = (usdt(0), Skip::AlreadyPaid);
        for item in items {
            let had = self.paid(&item.id);
            if item.owed <= had {
                continue;
            }
            if item.to.hash20() == [0; 20] || item.to == self.domain.vault || item.to == TOKEN {
                last = Skip::BadRecipient;
            } else if left == usdt(0) {
                last = short;
            } else if self.token.paused || self.token.blacklisted || self.refused.contains(&item.to) {
                last = Skip::TokenRefused;
            } else {
                let amount = item.owed.saturating_sub(had).min(left);
                self.state.paid.insert(item.id, had.saturating_add(amount));
                (left, sent) = (left.saturating_sub(amount), sent.saturating_add(amount));
                *n_paid += 1;
            }
        }
        if sent == usdt(0) {
            return Err(VaultRevert::NothingPaid(last));
        }
        let s = &mut self.state;
        let each = s.limits.push_fee.get();
        let fees_left = s.fees.saturating_sub(s.fees_paid).min(left).get();
        let mut fee = usdt(0);
        if each > 0 && (Some(sender) == s.leader || now_s >= s.until) {
            fee = usdt(each * (fees_left / each).min(*n_paid));
        }
        let window = now_s / u64::from(s.period);
        let spent = if window == s.window { s.spent } else { usdt(0) };
        (s.window, s.spent) = (window, spent.saturating_add(sent).saturating_add(fee));
        (s.paid_out, s.fees_paid) = (s.paid_out.saturating_add(sent), s.fees_paid.saturating_add(fee));
        s.funds = s.funds.saturating_sub(sent).saturating_sub(fee);
        Ok(())
    }
}

const EMPTY: SettlementRoot = SettlementRoot {
    pool: lucid_types::id::PoolId::from_bytes([2; 32]),
    settlement: 0,
    vault: address(0xee),
    era: 0,
    root: PayoutRoot::from_bytes([0; 32]),
    total: MicroUsdt::ZERO,
    fees: MicroUsdt::ZERO,
    promised: MicroUsdt::ZERO,
    leader: None,
    until: 0,
};

fn number(word: &[u8; 32]) -> u64 {
    assert_eq!(word[..24], [0; 24]);
    u64::from_be_bytes(word[24..].try_into().unwrap())
}

fn index(word: &[u8; 32]) -> usize {
    usize::try_from(number(word)).unwrap()
}

fn at(word: &[u8; 32]) -> PayoutAddress {
    PayoutAddress::from_hash20(word[12..].try_into().unwrap())
}
