//! What a run begins with: a chain with the token and a vault on it, and everybody's keys. Each kind is made once and cloned.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::vault::{Creation, VaultDomain, creation_code};
use lucid_tron_devnet::chain::{Chain, Genesis};
use lucid_tron_devnet::token;
use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{NodeId, PayoutAddress, SolidBlockId};
use lucid_types::payout::VaultLimits;
use lucid_types::vault::{SignerSet, TreasurySigner};
use serde_json::Value;

const VAULT: &[u8] = include_bytes!("../../../tron-bridge/contracts/PayoutVault.bin");
const VARIANTS: &[u8] = include_bytes!("../../../tron-bridge/contracts/variants.bin");
const VARIANTS_JSON: &str = include_str!("../../../tron-bridge/contracts/variants.json");
const HOSTILE_TOKEN: &[u8] = include_bytes!("../../../tron-bridge/contracts/test/HostileToken.bin");

/// When runs begin, in milliseconds: the first moment of a period, however long it is.
pub(super) const START: u64 = 1_789_999_200_000;
/// Time between blocks.
pub(super) const BLOCK_MS: u64 = 3_000;
/// Blocks from the newest to the newest solidified one.
pub(super) const SOLID_LAG: u64 = 5;
/// Sun in a TRX.
pub(super) const TRX: u64 = 1_000_000;
/// Micro-USDT in a USDT.
pub(super) const USDT: u64 = 1_000_000;
/// What a unit of energy costs, in sun.
pub(super) const ENERGY_PRICE: u64 = 100;
/// Seconds of notice that the owner's acts need.
const DELAY: u32 = 60;
/// The token's supply.
const SUPPLY: u64 = 1_000_000_000 * USDT;
/// What each account has at first.
const BALANCE: u64 = 1_000_000 * TRX;
/// The highest fee limit.
const FEE_LIMIT: u64 = 15_000 * TRX;
/// Time that blocks of the beginning have.
const SETUP_MS: u64 = 120_000;
const SEED: &str = "payout simulation";
/// Keys that sign for a vault: those of the first signers, and those who may replace them.
pub(super) const N_SIGNERS: usize = 10;
/// Nodes that can push.
pub(super) const MAX_NODES: usize = 4;

/// Which token is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TokenKind {
    /// The test USDT.
    Usdt,
    /// One that can be told to refuse a recipient.
    Hostile,
}

/// What distinguishes beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BaseKind {
    /// A variant of the vault that leaves a rule out, by its place in `variants.json`; `None`: the vault itself.
    pub(super) variant: Option<usize>,
    pub(super) token: TokenKind,
    /// Signers, and how many of them must sign.
    pub(super) n_signers: usize,
    pub(super) threshold: u8,
    pub(super) cap: u64,
    pub(super) push_fee: u64,
    /// Seconds.
    pub(super) period: u32,
}

/// Everybody who sends transactions or signs.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Deploys everything, holds the token's supply and owns the token.
    pub(super) issuer: TronKey,
    /// The vault's owner.
    pub(super) owner: TronKey,
    /// Calls the vault with whatever it can think of; may be elected.
    pub(super) villain: TronKey,
    /// Claims for workers, and pushes for strangers.
    pub(super) stranger: TronKey,
    pub(super) signers: Vec<TronKey>,
    pub(super) gas: Vec<TronKey>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) kind: BaseKind,
    pub(super) chain: Chain,
    pub(super) keys: Keys,
    pub(super) token: PayoutAddress,
    pub(super) domain: VaultDomain,
    pub(super) signers: SignerSet,
}

/// Why there is no beginning.
pub(super) type BaseError = String;

impl Base {
    /// The beginning of this kind.
    pub(super) fn of(kind: BaseKind) -> Result<Arc<Self>, BaseError> {
        static MADE: Mutex<BTreeMap<BaseKind, Arc<Base>>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = made.get(&kind) {
            return Ok(Arc::clone(base));
        }
        let base = Arc::new(Self::new(kind)?);
        made.insert(kind, Arc::clone(&base));
        Ok(base)
    }

    fn new(kind: BaseKind) -> Result<Self, BaseError> {
        let n_keys = 4 + N_SIGNERS + MAX_NODES;
        let wallets: Vec<_> = (0..n_keys).map(|n| Wallet::derive(SEED, u32::try_from(n).unwrap_or(u32::MAX))).collect();
        let keys = Keys::new(&wallets)?;
        let issuer = wallets.first().ok_or("no keys")?;
        let n_accounts = u32::try_from(n_keys).map_err(|e| e.to_string())?;
        let mut chain = Chain::new(Genesis::seeded(SEED, n_accounts, BALANCE, START - SETUP_MS, SOLID_LAG));
        let token_code = match kind.token {
            TokenKind::Usdt => token::creation_code(SUPPLY),
            TokenKind::Hostile => [HOSTILE_TOKEN, &token::number_word(SUPPLY)].concat(),
        };
        let token = deploy(&mut chain, issuer, token_code)?;
        let signers = signer_set(&keys, 1, kind.threshold, &(0..kind.n_signers).collect::<Vec<_>>());
        let limits = VaultLimits { cap: MicroUsdt::new(kind.cap), push_fee: MicroUsdt::new(kind.push_fee) };
        let owner = keys.owner.address();
        let (period, delay) = (kind.period, DELAY);
        let creation = Creation { token, owner, signers: &signers, limits, period, delay, previous: None };
        let mut code = creation_code(&creation);
        if let Some(variant) = kind.variant {
            let arguments = code.strip_prefix(VAULT).ok_or("the vault's creation code is another")?;
            code = [variant_code(variant)?, arguments].concat();
        }
        let vault = deploy(&mut chain, issuer, code)?;
        for n in (0..=SOLID_LAG).rev() {
            chain.produce_block(START - n * BLOCK_MS);
        }
        let domain = VaultDomain::new(&SolidBlockId::from_bytes(chain.genesis_id().0), vault);
        Ok(Self { kind, chain, keys, token, domain, signers })
    }
}

impl Keys {
    fn new(wallets: &[Wallet]) -> Result<Self, BaseError> {
        let keys = wallets.iter().map(|wallet| TronKey::from_secret(&wallet.secret()).map_err(|e| e.to_string()));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let [issuer, owner, villain, stranger, others @ ..] = keys.as_slice() else {
            return Err("too few keys".into());
        };
        let (signers, gas) = others.split_at_checked(N_SIGNERS).ok_or("too few keys")?;
        let [issuer, owner, villain, stranger] = [issuer, owner, villain, stranger].map(Clone::clone);
        Ok(Self { issuer, owner, villain, stranger, signers: signers.to_vec(), gas: gas.to_vec() })
    }
}

/// The node that signs with this key.
pub(super) fn signer_node(number: usize) -> NodeId {
    NodeId::from_bytes([0x80 | u8::try_from(number).unwrap_or(u8::MAX); 32])
}

/// Signers of an era by their numbers.
pub(super) fn signer_set(keys: &Keys, era: u32, threshold: u8, numbers: &[usize]) -> SignerSet {
    let member = |n: &usize| {
        let key = keys.signers.get(*n)?;
        Some(TreasurySigner { node: signer_node(*n), key_address: key.address() })
    };
    SignerSet { era, threshold, members: numbers.iter().filter_map(member).collect() }
}

fn deploy(chain: &mut Chain, by: &Wallet, code: Vec<u8>) -> Result<PayoutAddress, BaseError> {
    let head = chain.head().block().clone();
    let message = wallet::create(by.address(), "contract", code, None, 0);
    let (bytes, id) = wallet::signed(by, &message, FEE_LIMIT, Validity::after(head.id.0, head.time(), 60_000));
    chain.submit(&bytes).map_err(|refusal| refusal.to_string())?;
    let block = chain.produce_block(head.time() + BLOCK_MS);
    match block.infos.as_slice() {
        [info] if !info.is_failed() => Ok(PayoutAddress::from_hash20(wallet::contract_address(&id, by.address()).0.0)),
        other => Err(format!("a contract cannot be deployed: {other:?}")),
    }
}

fn variants() -> Result<Vec<Value>, BaseError> {
    serde_json::from_str(VARIANTS_JSON).map_err(|e| e.to_string())
}

/// The place of the variant with this name.
pub(super) fn variant(name: &str) -> Option<usize> {
    variants().ok()?.iter().position(|entry| entry["name"] == name)
}

/// Creation code of a variant, without arguments.
fn variant_code(variant: usize) -> Result<&'static [u8], BaseError> {
    let list = variants()?;
    let entry = list.get(variant).ok_or("no such variant of the vault")?;
    let number = |key: &str| entry[key].as_u64().and_then(|n| usize::try_from(n).ok());
    let code = number("offset").zip(number("length")).and_then(|(at, n)| VARIANTS.get(at..)?.get(..n));
    code.ok_or_else(|| format!("variant {variant} of the vault has no code"))
}
