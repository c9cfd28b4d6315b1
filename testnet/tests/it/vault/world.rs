//! A chain with a token, a vault, and everybody who has to do with it.
//!
//! Time stands still unless a test moves it: every block has the second that [`World::travel`] left.

use lucid_tron_devnet::chain::{CallOutcome, Chain, Genesis, Receipt, TransactionInfo};
use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_tron_devnet::{Address, B256, token};
use lucid_tron_types::keccak256;
use lucid_tron_types::proto::{ContractMessage, ContractResult};

use super::abi::{self, Arg, Event, Word, call, to_u64, word};
use super::code::{self, Code};
use super::tree::{Item, Place, Root, Tree};

const TRX: u64 = 1_000_000;
/// When the chains begin, in seconds: the first of a period.
pub(super) const START: u64 = 1_699_920_000;
pub(super) const PERIOD: u64 = 86_400;
pub(super) const DELAY: u64 = 200_000;
pub(super) const HOUR: u64 = 3_600;
/// Sun of the highest fee limit, 150,000,000 energy.
const FEE_LIMIT: u64 = 15_000 * TRX;
/// What there is of the token.
const SUPPLY: u64 = 1_000_000_000_000;
/// How many keys there are to choose signers from.
const KEYS: u32 = 17;
const FIRST_WORKER: u32 = 4 + KEYS;

/// Somebody with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Deploys everything, holds the token's supply and owns the test USDT.
    Deployer,
    Owner,
    Leader,
    Stranger,
    /// By ascending address; the first [`Setup::signers`] are the vault's.
    Signer(usize),
    Worker(usize),
}

/// Which token is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Usdt,
    Hostile,
    Old,
    OldFalse,
}

/// What a world begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) token: Token,
    /// The vault's owner is the token, for tests of what it can do when it is called.
    pub(super) is_token_owner: bool,
    pub(super) signers: usize,
    pub(super) k: u64,
    pub(super) cap: u64,
    pub(super) push_fee: u64,
    pub(super) funds: u64,
    pub(super) workers: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            token: Token::Usdt,
            is_token_owner: false,
            signers: 3,
            k: 2,
            cap: 1_000_000,
            push_fee: 0,
            funds: 500_000,
            workers: 12,
        }
    }
}

/// The constructor's arguments.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) token: Address,
    pub(super) owner: Address,
    pub(super) signers: Vec<Address>,
    pub(super) k: u64,
    pub(super) cap: u64,
    pub(super) push_fee: u64,
    pub(super) period: u64,
    pub(super) delay: u64,
    pub(super) previous: Address,
}

/// What a call did: its events, or why it failed.
pub(super) type Outcome = Result<Vec<Event>, String>;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct World {
    chain: Chain,
    code: Code,
    keys: Vec<Wallet>,
    now: u64,
    nonce: u64,
    /// Of the last transaction.
    pub(super) receipt: Receipt,
    /// Bytes of the last transaction's raw data.
    pub(super) bytes: usize,
    pub(super) token: Address,
    pub(super) vault: Address,
    pub(super) signers: Vec<usize>,
    pub(super) k: u64,
    /// Of the root that was made last.
    pub(super) items: Vec<Item>,
    pub(super) tree: Tree,
}

impl World {
    pub(super) fn new(code: &Code) -> Self {
        Self::with(code, Setup::default())
    }

    pub(super) fn with(code: &Code, setup: Setup) -> Self {
        let n = FIRST_WORKER + setup.workers;
        let mut keys: Vec<Wallet> = (0..n).map(|i| Wallet::derive("vault", i)).collect();
        keys[4..4 + usize::try_from(KEYS).unwrap()].sort_by_key(Wallet::address);
        let mut world = Self {
            chain: Chain::new(Genesis::seeded("vault", n, 1_000_000 * TRX, START * 1_000, 0)),
            code: code.clone(),
            keys,
            now: START,
            nonce: 0,
            receipt: Receipt::default(),
            bytes: 0,
            token: Address::ZERO,
            vault: Address::ZERO,
            signers: (0..setup.signers).collect(),
            k: setup.k,
            items: Vec::new(),
            tree: Tree::new(&[]),
        };
        let supply = abi::encode(&[abi::number(SUPPLY)]);
        let token_code = match setup.token {
            Token::Usdt => token::creation_code(SUPPLY),
            Token::Hostile => [code::HOSTILE_TOKEN, &supply].concat(),
            Token::Old => [code::OLD_TOKEN, &supply].concat(),
            Token::OldFalse => [code::OLD_FALSE_TOKEN, &supply].concat(),
        };
        world.token = world.create(token_code).unwrap();
        let owner = if setup.is_token_owner { world.token } else { world.at(Who::Owner) };
        let deployment = Deployment { owner, cap: setup.cap, push_fee: setup.push_fee, ..world.deployment() };
        world.vault = world.deploy(&deployment).unwrap();
        world.fund(setup.funds);
        world
    }

    // ---- who -------------------------------------------------------------------------------------------------------

    pub(super) fn wallet(&self, who: Who) -> &Wallet {
        let first = |group: u32, i: usize| usize::try_from(group).unwrap() + i;
        &self.keys[match who {
            Who::Deployer => 0,
            Who::Owner => 1,
            Who::Leader => 2,
            Who::Stranger => 3,
            Who::Signer(i) => first(4, i),
            Who::Worker(i) => first(FIRST_WORKER, i),
        }]
    }

    pub(super) fn at(&self, who: Who) -> Address {
        self.wallet(who).address()
    }

    pub(super) fn signer_addresses(&self, signers: &[usize]) -> Vec<Address> {
        signers.iter().map(|i| self.at(Who::Signer(*i))).collect()
    }

    // ---- time ------------------------------------------------------------------------------------------------------

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Goes on by so many seconds, to a block of that time.
    pub(super) fn travel(&mut self, seconds: u64) {
        self.travel_to(self.now + seconds);
    }

    pub(super) fn travel_to(&mut self, time: u64) {
        assert!(time >= self.now);
        self.now = time;
        self.mine();
    }

    fn mine(&mut self) {
        self.chain.produce_block(self.now * 1_000);
        assert_eq!(self.chain.head().block().time() / 1_000, self.now, "too many blocks for one second");
    }

    // ---- transactions ----------------------------------------------------------------------------------------------

    fn send<M: ContractMessage>(&mut self, from: Who, message: &M, fee_limit: u64) -> TransactionInfo {
        self.nonce += 1;
        let head = self.chain.head().block();
        let validity = Validity::after(head.id.0, head.time(), 60_000);
        let validity = Validity { timestamp: validity.timestamp + self.nonce, ..validity };
        let (bytes, id) = wallet::signed(self.wallet(from), message, fee_limit, validity);
        self.chain.submit(&bytes).unwrap();
        self.mine();
        let info = self.chain.head().transaction_info(&B256::from(id)).unwrap().clone();
        self.receipt = info.receipt.clone();
        // A signature takes 65 bytes and two of framing, the raw data its length.
        self.bytes = bytes.len() - 67;
        info
    }

    fn create(&mut self, creation_code: Vec<u8>) -> Result<Address, String> {
        let message = wallet::create(self.at(Who::Deployer), "contract", creation_code, None, 0);
        let info = self.send(Who::Deployer, &message, FEE_LIMIT);
        match failure(&info) {
            None => Ok(info.contract_address.unwrap()),
            Some(why) => Err(why),
        }
    }

    /// What the vault of this world was deployed with, limits aside.
    pub(super) fn deployment(&self) -> Deployment {
        Deployment {
            token: self.token,
            owner: self.at(Who::Owner),
            signers: self.signer_addresses(&self.signers),
            k: self.k,
            cap: Setup::default().cap,
            push_fee: 0,
            period: PERIOD,
            delay: DELAY,
            previous: Address::ZERO,
        }
    }

    /// Deploys a vault. It does not become this world's.
    pub(super) fn deploy(&mut self, with: &Deployment) -> Result<Address, String> {
        let signers: Vec<Word> = with.signers.iter().map(|signer| token::address_word(*signer)).collect();
        let arguments = abi::encode(&[
            abi::address(with.token),
            abi::address(with.owner),
            abi::array(signers.len(), &signers),
            abi::number(with.k),
            Arg::Words([with.cap, with.push_fee].map(token::number_word).to_vec()),
            abi::number(with.period),
            abi::number(with.delay),
            abi::address(with.previous),
        ]);
        let creation_code = [self.code.0.as_slice(), &arguments].concat();
        self.create(creation_code)
    }

    /// Calls a contract; the events are the vault's.
    pub(super) fn call(&mut self, from: Who, contract: Address, data: Vec<u8>) -> Outcome {
        self.call_with(from, contract, data, FEE_LIMIT / 100)
    }

    /// As [`Self::call`], with so much energy.
    pub(super) fn call_with(&mut self, from: Who, contract: Address, data: Vec<u8>, energy: u64) -> Outcome {
        let message = wallet::trigger(self.at(from), contract, data, 0);
        let info = self.send(from, &message, energy * 100);
        match failure(&info) {
            None => Ok(self.events(&info)),
            Some(why) => Err(why),
        }
    }

    fn events(&self, info: &TransactionInfo) -> Vec<Event> {
        let own = info.logs.iter().filter(|log| log.address == self.vault);
        own.map(|log| Event::decode(log.topics(), &log.data.data)).collect()
    }

    /// Sends TRX to the vault with a call.
    pub(super) fn pay_trx(&mut self, from: Who, data: Vec<u8>, sun: u64) -> Outcome {
        let message = wallet::trigger(self.at(from), self.vault, data, sun);
        let info = self.send(from, &message, FEE_LIMIT);
        match failure(&info) {
            None => Ok(self.events(&info)),
            Some(why) => Err(why),
        }
    }

    /// Deploys another USDT, which is not this world's.
    pub(super) fn deploy_token(&mut self) -> Address {
        self.create(token::creation_code(SUPPLY)).unwrap()
    }

    /// Calls a function of the vault.
    pub(super) fn act(&mut self, from: Who, signature: &str, args: &[Arg]) -> Outcome {
        self.call(from, self.vault, call(signature, args))
    }

    /// Calls a function of the token.
    pub(super) fn token_call(&mut self, from: Who, signature: &str, args: &[Arg]) {
        self.call(from, self.token, call(signature, args)).unwrap();
    }

    fn look(&self, contract: Address, data: &[u8]) -> CallOutcome {
        self.chain.head().call(self.at(Who::Stranger), contract, data, 0, None)
    }

    /// What a call answers as of the head, or why it fails.
    pub(super) fn try_read(&self, contract: Address, data: &[u8]) -> Result<Vec<u8>, String> {
        let outcome = self.look(contract, data);
        match outcome.result {
            ContractResult::Success => Ok(outcome.output.to_vec()),
            ContractResult::Revert => Err(abi::error(&outcome.output)),
            other => Err(format!("TVM {other:?}")),
        }
    }

    /// What a view of the vault answers.
    pub(super) fn read(&self, signature: &str, args: &[Arg]) -> Vec<u8> {
        self.try_read(self.vault, &call(signature, args)).unwrap()
    }

    /// Energy that a call of a view of the vault takes.
    pub(super) fn read_energy(&self, signature: &str, args: &[Arg]) -> u64 {
        let outcome = self.look(self.vault, &call(signature, args));
        assert_eq!(outcome.result, ContractResult::Success);
        outcome.energy
    }

    pub(super) fn read_token(&self, signature: &str, args: &[Arg]) -> Vec<u8> {
        self.try_read(self.token, &call(signature, args)).unwrap()
    }

    // ---- what there is ---------------------------------------------------------------------------------------------

    pub(super) fn chain_id(&self) -> u64 {
        self.chain.chain_id()
    }

    /// Keccak-256 of the vault's code.
    pub(super) fn code_hash(&self) -> Word {
        keccak256(self.chain.head().code(self.vault).unwrap().original_byte_slice())
    }

    pub(super) fn balance(&self, of: Address) -> u64 {
        to_u64(word(&self.read_token("balanceOf(address)", &[abi::address(of)]), 0))
    }

    pub(super) fn paid_of(&self, worker: usize) -> u64 {
        to_u64(word(&self.read("paidOf(bytes32)", &[abi::hash(id(worker))]), 0))
    }

    /// Paid out, fees paid, spent in the newest period.
    pub(super) fn sums(&self) -> [u64; 3] {
        let flow = self.read("flow()", &[]);
        [0, 1, 2].map(|i| to_u64(word(&flow, i)))
    }

    /// Settlement, total, fees, era, nonce, threshold.
    pub(super) fn head(&self) -> [u64; 6] {
        let head = self.read("head()", &[]);
        [0, 1, 2, 3, 4, 5].map(|i| to_u64(word(&head, i)))
    }

    pub(super) fn is_paused(&self) -> bool {
        to_u64(word(&self.read("paused()", &[]), 0)) == 1
    }

    pub(super) fn is_closed(&self) -> bool {
        to_u64(word(&self.read("closed()", &[]), 0)) == 1
    }

    pub(super) fn place(&self) -> Place {
        Place { chain_id: self.chain_id(), vault: self.vault, era: self.head()[3] }
    }

    /// Moves tokens of the deployer to the vault.
    pub(super) fn fund(&mut self, amount: u64) {
        let to = self.vault;
        self.token_call(Who::Deployer, "transfer(address,uint256)", &[abi::address(to), abi::number(amount)]);
    }

    // ---- roots and payments ----------------------------------------------------------------------------------------

    /// An item for each worker, who is owed so much.
    pub(super) fn items(&self, owed: &[u64]) -> Vec<Item> {
        let item = |(i, owed): (usize, &u64)| Item { id: id(i), to: self.at(Who::Worker(i)), owed: *owed };
        owed.iter().enumerate().map(item).collect()
    }

    /// The root of these items, from now on those of this world, whose total is their sum, without fees and turn.
    pub(super) fn root_of(&mut self, settlement: u64, items: Vec<Item>) -> Root {
        let total = items.iter().map(|item| item.owed).sum();
        self.tree = Tree::new(&items);
        self.items = items;
        Root { settlement, root: self.tree.root(), total, fees: 0, leader: self.at(Who::Leader), until: 0 }
    }

    /// As [`Self::root_of`], for the workers.
    pub(super) fn root(&mut self, settlement: u64, owed: &[u64]) -> Root {
        let items = self.items(owed);
        self.root_of(settlement, items)
    }

    /// The digest that the vault names.
    pub(super) fn root_digest(&self, root: &Root) -> Word {
        let signature = "rootDigest(uint64,bytes32,uint64,uint64,(address,uint64))";
        word(&self.read(signature, &root_args(root)), 0)
    }

    /// Signatures of these, in this order.
    pub(super) fn sign(&self, signers: &[usize], digest: &Word) -> Vec<u8> {
        let sign = |i: &usize| self.wallet(Who::Signer(*i)).sign_hash(digest).unwrap();
        signers.iter().map(sign).collect::<Vec<[u8; 65]>>().concat()
    }

    /// The first k of the signers.
    pub(super) fn quorum(&self) -> Vec<usize> {
        self.signers[..usize::try_from(self.k).unwrap()].to_vec()
    }

    pub(super) fn post_signed(&mut self, root: &Root, signatures: &[u8]) -> Outcome {
        let signature = "postRoot(uint64,bytes32,uint64,uint64,(address,uint64),bytes)";
        let args = [root_args(root), vec![abi::bytes(signatures)]].concat();
        self.act(Who::Deployer, signature, &args)
    }

    /// Has the root signed and posts it.
    pub(super) fn post_root(&mut self, root: &Root) -> Outcome {
        let signatures = self.sign(&self.quorum(), &self.root_digest(root));
        self.post_signed(root, &signatures)
    }

    /// Posts the root of what the workers are owed.
    pub(super) fn post(&mut self, settlement: u64, owed: &[u64]) -> Outcome {
        let root = self.root(settlement, owed);
        self.post_root(&root)
    }

    /// Call data of `payRange` for these of the items.
    pub(super) fn range_call(&self, settlement: u64, start: usize, n: usize) -> Vec<u8> {
        range_call(settlement, start, &self.items[start..start + n], &self.tree.range(start, n))
    }

    /// Pushes `n` items from `start` on.
    pub(super) fn push(&mut self, from: Who, settlement: u64, start: usize, n: usize) -> Outcome {
        let data = self.range_call(settlement, start, n);
        self.call(from, self.vault, data)
    }

    /// The leader pushes all items.
    pub(super) fn push_all(&mut self, settlement: u64) -> Outcome {
        self.push(Who::Leader, settlement, 0, self.items.len())
    }

    /// Call data of `pay` for these of the items.
    pub(super) fn claim_call(&self, settlement: u64, which: &[usize]) -> Vec<u8> {
        let items: Vec<Item> = which.iter().map(|i| self.items[*i]).collect();
        let proofs: Vec<Vec<Word>> = which.iter().map(|i| self.tree.range(*i, 1)).collect();
        claim_call(settlement, &items, &proofs)
    }

    /// A worker claims for itself.
    pub(super) fn claim(&mut self, settlement: u64, worker: usize) -> Outcome {
        let data = self.claim_call(settlement, &[worker]);
        self.call(Who::Worker(worker), self.vault, data)
    }

    /// What the vault says for a payment of an item in full.
    pub(super) fn paid(&self, i: usize, amount: u64) -> Event {
        let Item { id, to, owed } = self.items[i];
        Event::Paid { id, to, amount, owed }
    }

    // ---- owner -----------------------------------------------------------------------------------------------------

    /// Call data of `setSigners`, signed by these.
    pub(super) fn rotation(&self, next: &[usize], k: u64, signed_by: &[usize]) -> Vec<u8> {
        let next = self.signer_addresses(next);
        let digest = word(&self.read("signersDigest(address[],uint8)", &signers_args(&next, k)), 0);
        let args = [signers_args(&next, k), vec![abi::bytes(&self.sign(signed_by, &digest))]].concat();
        call("setSigners(address[],uint8,bytes)", &args)
    }

    /// The owner and the signers make these the signers.
    pub(super) fn rotate(&mut self, next: &[usize], k: u64) -> Outcome {
        let data = self.rotation(next, k, &self.quorum());
        let outcome = self.call(Who::Owner, self.vault, data);
        if outcome.is_ok() {
            (self.signers, self.k) = (next.to_vec(), k);
        }
        outcome
    }

    /// Call data of `setLimits`, signed by these.
    pub(super) fn limits(&self, cap: u64, push_fee: u64, signed_by: &[usize]) -> Vec<u8> {
        let limits = Arg::Words([cap, push_fee].map(token::number_word).to_vec());
        let digest = word(&self.read("limitsDigest((uint64,uint64))", std::slice::from_ref(&limits)), 0);
        call("setLimits((uint64,uint64),bytes)", &[limits, abi::bytes(&self.sign(signed_by, &digest))])
    }

    pub(super) fn ask_withdrawal(&mut self, to: Address, amount: u64) -> Outcome {
        self.act(Who::Owner, "askWithdrawal(address,uint64)", &[abi::address(to), abi::number(amount)])
    }

    /// Has the owner close the vault and waits until it is.
    pub(super) fn close(&mut self) {
        self.act(Who::Owner, "close()", &[]).unwrap();
        self.travel(DELAY);
        assert!(self.is_closed());
    }
}

/// Account of a worker.
pub(super) fn id(worker: usize) -> Word {
    keccak256(format!("account {worker}").as_bytes())
}

pub(super) fn root_args(root: &Root) -> Vec<Arg> {
    vec![
        abi::number(root.settlement),
        abi::hash(root.root),
        abi::number(root.total),
        abi::number(root.fees),
        Arg::Words(vec![token::address_word(root.leader), token::number_word(root.until)]),
    ]
}

pub(super) fn signers_args(signers: &[Address], k: u64) -> Vec<Arg> {
    let words: Vec<Word> = signers.iter().map(|signer| token::address_word(*signer)).collect();
    vec![abi::array(words.len(), &words), abi::number(k)]
}

fn items_arg(items: &[Item]) -> Arg {
    let words: Vec<Word> = items.iter().flat_map(Item::words).collect();
    abi::array(items.len(), &words)
}

pub(super) fn range_call(settlement: u64, start: usize, items: &[Item], proof: &[Word]) -> Vec<u8> {
    let start = abi::number(u64::try_from(start).unwrap());
    let args = [abi::number(settlement), start, items_arg(items), abi::array(proof.len(), proof)];
    call("payRange(uint64,uint256,(bytes32,address,uint64)[],bytes32[])", &args)
}

pub(super) fn claim_call(settlement: u64, items: &[Item], proofs: &[Vec<Word>]) -> Vec<u8> {
    let args = [abi::number(settlement), items_arg(items), abi::arrays(proofs)];
    call("pay(uint64,(bytes32,address,uint64)[],bytes32[][])", &args)
}

/// Why a transaction failed, if it did.
fn failure(info: &TransactionInfo) -> Option<String> {
    match info.receipt.result {
        None | Some(ContractResult::Success) => None,
        Some(ContractResult::Revert) => Some(abi::error(&info.contract_result)),
        Some(other) => Some(format!("TVM {other:?}")),
    }
}
