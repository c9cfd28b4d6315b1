//! Block headers: JSON in, a [`Header`] out whose id was recomputed.
//!
//! Only the header is read. What a block holds is asked for as receipts, so that a transaction of a kind that this program does
//! not know is no obstacle.

use lucid_tron_types::block::block_id;
use lucid_tron_types::proto::BlockHeaderRaw;
use lucid_types::id::SolidBlockId;
use lucid_types::time::UnixMillis;
use serde::Deserialize;

use super::reply::{Problem, bytes};
use crate::transaction::Reference;

/// What java-tron writes as the root of a block's transactions if it has none. Source: `BlockCapsule.calcMerkleRoot`.
const NO_TRANSACTIONS: [u8; 32] = [0; 32];

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number, id and time.
    pub reference: Reference,
    /// Id of the block before it, as the header says.
    pub parent: SolidBlockId,
    /// Whether the header says that the block has no transactions.
    pub is_empty: bool,
}

#[derive(Deserialize)]
pub(super) struct BlockJson {
    #[serde(rename = "blockID")]
    id: Option<SolidBlockId>,
    block_header: Option<HeaderJson>,
}

#[derive(Deserialize)]
struct HeaderJson {
    raw_data: HeaderRawJson,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HeaderRawJson {
    timestamp: i64,
    tx_trie_root: String,
    parent_hash: String,
    number: i64,
    #[serde(rename = "witness_id")]
    witness_id: i64,
    #[serde(rename = "witness_address")]
    witness_address: String,
    version: i32,
    account_state_root: String,
}

impl BlockJson {
    /// The id as it stands there, for comparing it with one that is known.
    pub(super) fn claimed_id(self) -> Result<SolidBlockId, Problem> {
        self.id.ok_or_else(|| "no block".into())
    }

    /// The block, whose id is that of its header; `None` for `{}`.
    pub(super) fn checked(self) -> Result<Option<Header>, Problem> {
        let (Some(claimed), Some(header)) = (self.id, self.block_header) else { return Ok(None) };
        let raw = header.raw_data;
        let header = BlockHeaderRaw {
            timestamp: raw.timestamp,
            tx_trie_root: bytes("txTrieRoot", &raw.tx_trie_root)?,
            parent_hash: bytes("parentHash", &raw.parent_hash)?,
            number: raw.number,
            witness_id: raw.witness_id,
            witness_address: bytes("witness_address", &raw.witness_address)?,
            version: raw.version,
            account_state_root: bytes("accountStateRoot", &raw.account_state_root)?,
        };
        let id = SolidBlockId::from_bytes(block_id(&header));
        if id != claimed {
            return Err(format!("the header of block {} hashes to {id}, not to its id {claimed}", raw.number));
        }
        let reference = Reference {
            number: u64::try_from(raw.number).map_err(|_| format!("block number {}", raw.number))?,
            id,
            time: UnixMillis::new(u64::try_from(raw.timestamp).map_err(|_| format!("block time {}", raw.timestamp))?),
        };
        // Block 0's parent is shorter or longer on some networks; nothing comes before it.
        let parent = <[u8; 32]>::try_from(header.parent_hash.as_slice()).unwrap_or_default();
        let is_empty = header.tx_trie_root == NO_TRANSACTIONS;
        Ok(Some(Header { reference, parent: SolidBlockId::from_bytes(parent), is_empty }))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> BlockJson {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    /// The main network's block of that number.
    fn block() -> Value {
        json!({
            "blockID": "000000000335f6219b675cfb09a93b99a53729b80b188dcde464eb41625c3d0c",
            "block_header": { "raw_data": {
                "number": 53_868_065,
                "txTrieRoot": "0000000000000000000000000000000000000000000000000000000000000000",
                "witness_address": "41711cf6683d28621ae12030fd541b288c61d682cd",
                "parentHash": "000000000335f620ef6509d67751753763be896f7ac569fc1d1cfa059cecf619",
                "version": 31,
                "timestamp": 1_745_423_034_000_i64
            }, "witness_signature": "218a" }
        })
    }

    #[test]
    fn a_main_network_header_is_checked() {
        let header = read(&block()).checked().unwrap().unwrap();
        let found = header.reference;
        assert!(header.is_empty && header.parent.to_string().starts_with("000000000335f620ef65"));
        assert_eq!(found.number, 53_868_065);
        assert_eq!(found.time, UnixMillis::new(1_745_423_034_000));
        assert_eq!((found.ref_block_bytes(), found.ref_block_hash()[0]), ([0xf6, 0x21], 0x9b));
        assert_eq!(read(&json!({})).checked(), Ok(None));
    }

    #[test]
    fn a_changed_header_is_found() {
        for (field, value) in [
            ("timestamp", json!(1_745_423_034_001_i64)),
            ("number", json!(53_868_066)),
            ("version", json!(32)),
            ("txTrieRoot", json!("01")),
        ] {
            let mut changed = block();
            changed["block_header"]["raw_data"][field] = value;
            let problem = read(&changed).checked().unwrap_err();
            assert!(problem.contains("not to its id"), "{field}: {problem}");
        }
        let mut negative = block();
        negative["block_header"]["raw_data"]["timestamp"] = json!(-1);
        let header = BlockHeaderRaw { timestamp: -1, ..BlockHeaderRaw::default() };
        let bare =
            json!({ "blockID": hex::encode(block_id(&header)), "block_header": { "raw_data": { "timestamp": -1 } } });
        assert!(read(&negative).checked().is_err());
        assert_eq!(read(&bare).checked(), Err("block time -1".into()));
    }

    #[test]
    fn odd_transactions_are_no_obstacle() {
        let mut odd = block();
        odd["transactions"] = json!([
            { "ret": [{ "contractRet": "OF_TOMORROW", "fee": -7 }], "raw_data": { "contract": [{ "type": "New" }] } },
            { "raw_data_hex": "not hex", "signature": 7 }, null, 5, "text",
        ]);
        assert_eq!(read(&odd).checked(), read(&block()).checked());
        odd["transactions"] = json!({ "not": "even a list" });
        assert_eq!(read(&odd).checked(), read(&block()).checked());
    }
}
