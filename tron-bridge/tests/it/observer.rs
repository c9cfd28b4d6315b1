use std::sync::{Arc, Mutex};
use std::time::Duration;

use lucid_tron_bridge::address;
use lucid_tron_bridge::client::{Client, ClientConfig};
use lucid_tron_bridge::observer::{ObserveError, Observer, Standing};
use lucid_tron_bridge::transfer::transfer;
use lucid_tron_bridge::trc20;
use lucid_tron_types::abi;
use lucid_tron_types::block;
use lucid_tron_types::proto::{BlockHeaderRaw, ContractResult, Transaction, TransactionResult};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::genesis::{Treasury, TreasurySigner};
use lucid_types::id::{AttemptId, NodeId, PayoutAddress, PayoutId, PoolId, SolidBlockId, TxId};
use lucid_types::payout::{PayoutAttempt, SolidBlock, TokenFlags, TreasuryView, Verdict};
use lucid_types::time::UnixMillis;
use serde_json::{Value, json};

use crate::server::{Answer, Request, Server};

const START: u64 = 1_790_000_000_000;
const GRACE: Duration = Duration::from_secs(180);

/// A solidified chain of one-second blocks that grows by [`Chain::extend`] and is served as java-tron does.
#[derive(Default)]
struct Chain {
    blocks: Vec<(BlockHeaderRaw, Vec<Transaction>)>,
    receipts: Vec<Value>,
    /// A block whose first transaction is left out of the answers.
    hides_in: Option<u64>,
}

impl Chain {
    fn id(&self, number: usize) -> [u8; 32] {
        self.blocks.get(number).map_or([0; 32], |(header, _)| block::block_id(header))
    }

    fn extend(&mut self, n: usize, transactions: &[Transaction]) {
        for i in 0..n {
            let number = self.blocks.len();
            let transactions = if i == 0 { transactions.to_vec() } else { vec![] };
            let header = BlockHeaderRaw {
                timestamp: i64::try_from(START).unwrap() + 1_000 * i64::try_from(number).unwrap(),
                tx_trie_root: block::transaction_root(&transactions).to_vec(),
                parent_hash: number.checked_sub(1).map_or([0; 32], |parent| self.id(parent)).to_vec(),
                number: i64::try_from(number).unwrap(),
                witness_address: vec![0x41; 21],
                version: 31,
                ..BlockHeaderRaw::default()
            };
            self.blocks.push((header, transactions));
        }
    }

    fn solid(&self, number: usize) -> SolidBlock {
        let time = UnixMillis::new(u64::try_from(self.blocks[number].0.timestamp).unwrap());
        SolidBlock { number: u64::try_from(number).unwrap(), id: SolidBlockId::from_bytes(self.id(number)), time }
    }

    fn block_json(&self, number: usize) -> Value {
        let Some((header, transactions)) = self.blocks.get(number) else { return json!({}) };
        let hidden = usize::from(self.hides_in == u64::try_from(number).ok());
        let transactions: Vec<_> = transactions
            .iter()
            .skip(hidden)
            .map(|t| {
                let result = ContractResult::try_from(t.ret[0].contract_ret).unwrap();
                json!({
                    "txID": hex::encode(block::transaction_id(&t.raw_data)),
                    "raw_data": {},
                    "raw_data_hex": hex::encode(&t.raw_data),
                    "signature": t.signature.iter().map(hex::encode).collect::<Vec<_>>(),
                    "ret": [{ "contractRet": result.name() }],
                })
            })
            .collect();
        let mut raw = json!({
            "txTrieRoot": hex::encode(&header.tx_trie_root),
            "parentHash": hex::encode(&header.parent_hash),
            "witness_address": hex::encode(&header.witness_address),
            "version": header.version,
            "timestamp": header.timestamp,
        });
        // Defaults are left out.
        if header.number > 0 {
            raw["number"] = json!(header.number);
        }
        let mut json = json!({
            "blockID": hex::encode(self.id(number)),
            "block_header": { "raw_data": raw, "witness_signature": "00" },
        });
        if !transactions.is_empty() {
            json["transactions"] = transactions.into();
        }
        json
    }

    fn answer(&self, request: &Request) -> Answer {
        Answer::json(&match request.path.as_str() {
            "/walletsolidity/getnowblock" => self.block_json(self.blocks.len() - 1),
            "/wallet/getblockbynum" | "/walletsolidity/getblockbynum" => {
                self.block_json(usize::try_from(request.body["num"].as_u64().unwrap()).unwrap())
            }
            "/wallet/gettransactioninfobyid" | "/walletsolidity/gettransactioninfobyid" => {
                let found = self.receipts.iter().find(|receipt| receipt["id"] == request.body["value"]);
                found.cloned().unwrap_or_else(|| json!({}))
            }
            "/walletsolidity/getaccount" => json!({
                "address": request.body["address"], "balance": 7_000_000,
                "active_permission": [{ "id": 2, "type": "Active", "threshold": 1, "operations": "ff".repeat(32),
                    "keys": [{ "address": signer().key_address.hex(), "weight": 1 }] }],
            }),
            "/wallet/getchainparameters" => json!({ "chainParameter": [
                { "key": "getEnergyFee", "value": 100 }, { "key": "getTransactionFee", "value": 1_000 },
                { "key": "getMultiSignFee", "value": 1_000_000 } ]}),
            "/walletsolidity/triggerconstantcontract" => {
                let selector = &request.body["data"].as_str().unwrap()[..8];
                let is = |signature| selector == hex::encode(abi::selector(signature));
                let value = if is("balanceOf(address)") { 9_000_000 } else { u64::from(is("paused()")) };
                json!({ "result": { "result": true }, "constant_result": [hex::encode(abi::word_of(value))],
                    "transaction": { "ret": [{}] } })
            }
            other => panic!("{other}"),
        })
    }
}

fn signer() -> TreasurySigner {
    TreasurySigner { node: NodeId::from_bytes([1; 32]), key_address: PayoutAddress::from_hash20([0xaa; 20]) }
}

async fn serve(chain: &Arc<Mutex<Chain>>) -> Server {
    let chain = Arc::clone(chain);
    Server::start(move |request| chain.lock().unwrap().answer(request)).await
}

fn observer(servers: &[&Server], genesis: [u8; 32]) -> Observer {
    let genesis = Some(SolidBlockId::from_bytes(genesis));
    let client = |server: &&Server| {
        let config = ClientConfig { retries: 0, ..ClientConfig::new(&server.url, genesis) };
        Client::new(config).unwrap()
    };
    Observer::new(servers.iter().map(client).collect(), GRACE).unwrap()
}

fn attempt(reference: SolidBlock) -> PayoutAttempt {
    PayoutAttempt {
        payout: PayoutId::from_bytes([7; 32]),
        attempt: 1,
        id: AttemptId::from_bytes([8; 32]),
        pool: PoolId::from_bytes([2; 32]),
        settlement: 1,
        worker: NodeId::from_bytes([4; 32]),
        to: PayoutAddress::from_hash20([5; 20]),
        amount: MicroUsdt::new(2_500_000),
        treasury: PayoutAddress::from_hash20([0xee; 20]),
        token: PayoutAddress::from_hash20([0xdd; 20]),
        permission_id: 2,
        reference,
        expiration: reference.time.after(Duration::from_secs(60)),
        fee_limit: Sun::new(15_000_000),
    }
}

fn signed(attempt: &PayoutAttempt, result: ContractResult) -> (Transaction, TxId) {
    let transfer = transfer(attempt).unwrap();
    let ret = vec![TransactionResult { contract_ret: result.into(), ..TransactionResult::default() }];
    let transaction = Transaction { raw_data: transfer.raw_data().to_vec(), signature: vec![vec![9; 65]], ret };
    (transaction, transfer.tx_id())
}

fn receipt(attempt: &PayoutAttempt, tx_id: TxId, block: u64, result: ContractResult) -> Value {
    let word = |a: &PayoutAddress| hex::encode(address::to_word(a));
    let log = json!({
        "address": hex::encode(attempt.token.hash20()),
        "topics": [hex::encode(trc20::transfer_topic()), word(&attempt.treasury), word(&attempt.to)],
        "data": hex::encode(abi::word_of(attempt.amount.get())),
    });
    json!({ "id": tx_id.to_string(), "fee": 345_000, "blockNumber": block, "blockTimeStamp": START,
        "receipt": { "result": result.name(), "energy_usage_total": 13_512 },
        "log": if result == ContractResult::Success { vec![log] } else { vec![] } })
}

/// A chain of 10 blocks with an attempt that refers to block 8.
fn setting() -> (Arc<Mutex<Chain>>, [u8; 32], PayoutAttempt) {
    let mut chain = Chain::default();
    chain.extend(10, &[]);
    let (genesis, attempt) = (chain.id(0), attempt(chain.solid(8)));
    (Arc::new(Mutex::new(chain)), genesis, attempt)
}

#[tokio::test]
async fn an_attempt_is_sent_again_then_paid() {
    let (chain, genesis, attempt) = setting();
    let server = serve(&chain).await;
    let observer = observer(&[&server], genesis);
    let now = attempt.reference.time.after(Duration::from_secs(5));
    assert_eq!(observer.judge(&attempt, now).await.unwrap(), Standing::SendAgain);
    let (transaction, tx_id) = signed(&attempt, ContractResult::Success);
    assert!(!observer.is_included(&tx_id).await.unwrap());
    {
        let mut chain = chain.lock().unwrap();
        chain.extend(3, &[transaction]);
        chain.receipts.push(receipt(&attempt, tx_id, 10, ContractResult::Success));
    }
    assert!(observer.is_included(&tx_id).await.unwrap());
    let paid = Verdict::Paid { tx_id, block: 10, fee: Sun::new(345_000) };
    assert_eq!(observer.judge(&attempt, now).await.unwrap(), Standing::Ended(paid));
}

#[tokio::test]
async fn a_receipt_without_its_block_is_no_verdict() {
    let (chain, genesis, attempt) = setting();
    let server = serve(&chain).await;
    let (_, tx_id) = signed(&attempt, ContractResult::Success);
    chain.lock().unwrap().receipts.push(receipt(&attempt, tx_id, 9, ContractResult::Success));
    let error = observer(&[&server], genesis).judge(&attempt, attempt.reference.time).await.unwrap_err();
    assert!(matches!(error, ObserveError::Evidence { .. }), "{error:?}");
}

#[tokio::test]
async fn a_failed_transaction_is_failed() {
    let (chain, genesis, attempt) = setting();
    let server = serve(&chain).await;
    let (transaction, tx_id) = signed(&attempt, ContractResult::OutOfEnergy);
    {
        let mut chain = chain.lock().unwrap();
        chain.extend(1, &[transaction]);
        chain.receipts.push(receipt(&attempt, tx_id, 10, ContractResult::OutOfEnergy));
    }
    let standing = observer(&[&server], genesis).judge(&attempt, attempt.reference.time).await.unwrap();
    assert_eq!(standing, Standing::Ended(Verdict::Failed { tx_id, block: 10, fee: Sun::new(345_000) }));
}

#[tokio::test]
async fn death_needs_the_grace_and_every_block() {
    let (chain, genesis, attempt) = setting();
    let server = serve(&chain).await;
    let observer = observer(&[&server], genesis);
    let late = attempt.expiration.after(GRACE + Duration::from_millis(1));
    // Blocks stop before the expiration: whatever the own clock says, it may still be included.
    chain.lock().unwrap().extend(58, &[]);
    assert_eq!(observer.judge(&attempt, late).await.unwrap(), Standing::SendAgain);
    chain.lock().unwrap().extend(5, &[]);
    let early = attempt.expiration.after(GRACE);
    assert_eq!(observer.judge(&attempt, early).await.unwrap(), Standing::Wait);
    assert_eq!(observer.judge(&attempt, late).await.unwrap(), Standing::Ended(Verdict::Dead));
    let n_requests = server.count("/walletsolidity/getblockbynum");
    assert_eq!(n_requests, 60, "blocks 9 to 68, each once");
    assert_eq!(observer.judge(&attempt, late).await.unwrap(), Standing::Ended(Verdict::Dead));
    assert_eq!(server.count("/walletsolidity/getblockbynum"), n_requests, "a second search reads no block again");
}

#[tokio::test]
async fn invariant_a_node_that_hides_the_transaction_proves_no_death() {
    let (chain, genesis, attempt) = setting();
    let server = serve(&chain).await;
    let (transaction, _) = signed(&attempt, ContractResult::Success);
    {
        let mut chain = chain.lock().unwrap();
        chain.extend(70, &[transaction]);
        // The node knows no receipt and leaves the transaction out of its block.
        chain.hides_in = Some(10);
    }
    let late = attempt.expiration.after(GRACE + Duration::from_millis(1));
    let error = observer(&[&server], genesis).judge(&attempt, late).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(matches!(error, ObserveError::Client(_)) && text.contains("do not hash to the root"), "{text}");
    // Without hiding the search finds it, which contradicts the missing receipt.
    chain.lock().unwrap().hides_in = None;
    let error = observer(&[&server], genesis).judge(&attempt, late).await.unwrap_err();
    assert!(matches!(error, ObserveError::Evidence { .. }), "{error:?}");
}

#[tokio::test]
async fn two_providers_must_agree_on_an_end() {
    let (chain, genesis, attempt) = setting();
    let honest = serve(&chain).await;
    let (transaction, tx_id) = signed(&attempt, ContractResult::Success);
    let lagging = {
        let mut lagging = Chain::default();
        lagging.extend(10, &[]);
        Arc::new(Mutex::new(lagging))
    };
    {
        let mut chain = chain.lock().unwrap();
        chain.extend(3, std::slice::from_ref(&transaction));
        chain.receipts.push(receipt(&attempt, tx_id, 10, ContractResult::Success));
    }
    let behind = serve(&lagging).await;
    let observer = observer(&[&honest, &behind], genesis);
    assert_eq!(observer.judge(&attempt, attempt.reference.time).await.unwrap(), Standing::Wait);
    {
        let mut lagging = lagging.lock().unwrap();
        lagging.extend(3, &[transaction]);
        lagging.receipts.push(receipt(&attempt, tx_id, 10, ContractResult::Success));
        // It lies about what the recipient got.
        lagging.receipts[0]["log"][0]["data"] = json!(hex::encode(abi::word_of(1)));
    }
    let error = observer.judge(&attempt, attempt.reference.time).await.unwrap_err();
    assert!(matches!(error, ObserveError::Disagreement { .. }), "{error:?}");
}

#[tokio::test]
async fn reference_blocks_are_the_newest_common_multiples() {
    let (chain, genesis, _) = setting();
    let ahead = {
        let mut ahead = Chain::default();
        ahead.extend(17, &[]);
        Arc::new(Mutex::new(ahead))
    };
    let (one, two) = (serve(&chain).await, serve(&ahead).await);
    let observer = observer(&[&one, &two], genesis);
    let [four, eight, nine] = [4, 8, 9].map(|number| chain.lock().unwrap().solid(number));
    assert_eq!(observer.solid_blocks(4).await.unwrap(), [eight, four]);
    assert_eq!(observer.solid_blocks(9).await.unwrap(), [nine]);
    assert_eq!(observer.solid_blocks(10).await.unwrap(), []);
}

#[tokio::test]
async fn the_treasury_is_seen_with_its_token_and_permission() {
    let (chain, genesis, attempt) = setting();
    let server = serve(&chain).await;
    let treasury = Treasury { address: attempt.treasury, permission_id: 2, threshold: 1, signers: vec![signer()] };
    let observer = observer(&[&server], genesis);
    let view = observer.treasury_view(attempt.pool, &treasury, &attempt.token).await.unwrap();
    let expected = TreasuryView {
        pool: attempt.pool,
        usdt: MicroUsdt::new(9_000_000),
        trx: Sun::new(7_000_000),
        energy_price: Sun::new(100),
        flags: TokenFlags { paused: true, ..TokenFlags::default() },
        permission_matches: true,
    };
    assert_eq!(view, expected);
    let other = Treasury { threshold: 2, ..treasury };
    assert!(!observer.treasury_view(attempt.pool, &other, &attempt.token).await.unwrap().permission_matches);
}
