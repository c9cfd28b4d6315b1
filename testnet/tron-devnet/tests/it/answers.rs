//! What a full node answers, to the letter: shapes, defaults left out, refusals. The source is java-tron's servlets.

use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_tron_devnet::{address, token};
use serde_json::{Value, json};

use crate::client::{Net, pay};

const FORMAT: &str = "class org.tron.core.services.http.JsonFormat$ParseException : ";
const VALIDATE: &str = "class org.tron.core.exception.ContractValidateException : ";

async fn post(net: &Net, call: &str, body: Value) -> Value {
    net.post(&format!("/wallet/{call}"), &body.to_string()).await
}

/// An account in hex and in base58check.
fn names(wallet: &Wallet) -> (String, String) {
    (address::to_hex(wallet.address()), address::to_base58(wallet.address()))
}

#[tokio::test]
async fn what_is_not_there_is_an_empty_object() {
    let net = Net::start(None, 1).await;
    let nobody = address::to_hex(Wallet::derive("nobody", 0).address());
    let id = "00".repeat(32);
    for (call, body) in [
        ("getaccount", json!({ "address": nobody })),
        ("getaccount", json!({})),
        ("getaccountresource", json!({ "address": nobody })),
        ("getaccountresource", json!({})),
        ("getaccountnet", json!({ "address": nobody })),
        ("getblockbynum", json!({ "num": 999 })),
        ("getblockbynum", json!({ "num": -1 })),
        ("getblockbyid", json!({ "value": id })),
        ("getblockbyid", json!({ "value": "00" })),
        ("getblock", json!({ "id_or_num": "999" })),
        ("getblockbylimitnext", json!({ "startNum": 0, "endNum": 101 })),
        ("getblockbylimitnext", json!({ "startNum": 1, "endNum": 1 })),
        ("getblockbylatestnum", json!({ "num": 100 })),
        ("getblockbylatestnum", json!({ "num": 0 })),
        ("gettransactionbyid", json!({ "value": id })),
        ("gettransactioninfobyid", json!({ "value": id })),
        ("gettransactioninfobyblocknum", json!({ "num": 0 })),
        ("gettransactionfrompending", json!({ "value": id })),
        ("gettransactionlistfrompending", json!({})),
        ("getcontract", json!({ "value": nobody })),
        ("getcontractinfo", json!({ "value": nobody })),
        ("getcontract", json!({ "value": "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u", "visible": true })),
        ("listnodes", json!({})),
    ] {
        assert_eq!(post(&net, call, body.clone()).await, json!({}), "{call} {body}");
    }
    assert_eq!(post(&net, "gettransactioninfobyblocknum", json!({ "num": 999 })).await, json!([]));
    assert_eq!(
        post(&net, "getblockbylimitnext", json!({ "startNum": 998, "endNum": 999 })).await,
        json!({ "block": [] })
    );
    assert_eq!(post(&net, "gettransactioncountbyblocknum", json!({ "num": 999 })).await, json!({ "count": 0 }));
    net.stop().await;
}

#[tokio::test]
async fn requests_are_read_as_strictly_as_a_full_node_does() {
    let net = Net::start(None, 1).await;
    let (hex, base58) = names(&net.ready.accounts[0]);
    let null = "class java.lang.NullPointerException : null";
    for (path, body, error) in [
        ("/wallet/getaccount", "", format!("{FORMAT}1:1: Expected \"{{\".")),
        ("/wallet/getaccount", "[]", "class com.alibaba.fastjson.JSONException : can not cast to JSONObject.".to_owned()),
        ("/wallet/getaccount", "null", null.to_owned()),
        ("/wallet/getaccount", r#"{"address":"zz"}"#, format!("{FORMAT}1:12: INVALID hex String")),
        ("/wallet/getaccount", r#"{"address":5}"#, format!("{FORMAT}1:12: Expected string.")),
        (
            "/wallet/getaccount",
            r#"{"address":"T0","visible":true}"#,
            format!("{FORMAT}1:12: INVALID base58 String, Illegal character 0 at 1"),
        ),
        ("/wallet/getaccount", r#"{"address":"TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u","visible":true}"#, null.to_owned()),
        (
            "/wallet/getblockbynum",
            r#"{"num":"7"}"#,
            format!("{FORMAT}1:8: Couldn't parse integer: For input string: \"\"7\"\""),
        ),
        ("/wallet/getblock", r#"{"id_or_num":7}"#, format!("{FORMAT}1:14: Expected string.")),
        ("/wallet/getblock", r#"{"id_or_num":"-7"}"#, "num must be non-positive number.".to_owned()),
        ("/wallet/getblock", r#"{"id_or_num":"abc"}"#, "id must be legal block hash.".to_owned()),
        ("/wallet/broadcasttransaction", "{}", null.to_owned()),
        ("/wallet/broadcasttransaction", r#"{"raw_data":{}}"#, null.to_owned()),
        (
            "/wallet/broadcasthex",
            r#"{"transaction":"zz"}"#,
            "class org.bouncycastle.util.encoders.DecoderException : exception decoding Hex string: invalid characters \
             encountered in Hex string"
                .to_owned(),
        ),
        (
            "/wallet/broadcasthex",
            r#"{"transaction":"0aff"}"#,
            "class com.google.protobuf.InvalidProtocolBufferException : While parsing a protocol message, the input ended \
             unexpectedly in the middle of a field.  This could mean either that the input has been truncated or that an \
             embedded message misreported its own length."
                .to_owned(),
        ),
    ] {
        assert_eq!(net.post(path, body).await["Error"], error, "{path} {body}");
    }
    // What a URL says is always a text, so there numbers are.
    assert_eq!(net.get("/wallet/getblockbynum?num=1").await["block_header"]["raw_data"]["number"], 1);
    let by_url = net.get(&format!("/wallet/getaccount?visible=true&address={base58}")).await;
    let by_body =
        post(&net, "getaccount", json!({ "address": base58, "visible": true, "unknown": [1, { "a": null }] })).await;
    assert_eq!(by_url, by_body);
    assert_eq!(by_url["address"], base58);
    assert_eq!(post(&net, "getaccount", json!({ "address": format!("0x{hex}") })).await["address"], hex);
    // Blocks of "now" are printed as the URL says, whatever the body says.
    let now = net.post("/wallet/getnowblock", r#"{"visible":true}"#).await;
    assert!(now["block_header"]["raw_data"]["witness_address"].as_str().unwrap().starts_with("41"));
    let now = net.post("/wallet/getnowblock?visible=true", "").await;
    assert!(now["block_header"]["raw_data"]["witness_address"].as_str().unwrap().starts_with('T'));
    let unread = net.post("/wallet/getnowblock", "no JSON").await;
    assert_eq!(unread["block_header"]["raw_data"]["number"], 1);
    assert_eq!(net.raw("HEAD", "/wallet/getnowblock", "").await, (200, String::new()));
    // An empty transaction is one without a contract.
    let empty = net.post("/wallet/broadcasthex", "{}").await;
    assert_eq!(empty["message"], "Contract validate error : No contract!");
    assert_eq!((&empty["code"], &empty["transaction"]), (&json!("CONTRACT_VALIDATE_ERROR"), &json!("{}")));
    net.stop().await;
}

#[tokio::test]
async fn transactions_are_built_signed_and_printed() {
    let net = Net::start(None, 1).await;
    let from = &net.ready.accounts[0];
    let ((hex, base58), (to_hex, to_base58)) = (names(from), names(&net.ready.accounts[1]));
    let body =
        json!({ "owner_address": hex, "to_address": to_hex, "amount": 5, "extra_data": "6869", "Permission_id": 2 });
    let built = post(&net, "createtransaction", body).await;
    let raw = &built["raw_data"];
    assert_eq!(built["visible"], false);
    assert_eq!((&raw["data"], &raw["contract"][0]["Permission_id"]), (&json!("6869"), &json!(2)));
    assert_eq!(
        raw["contract"][0]["parameter"],
        json!({
            "value": { "owner_address": hex, "to_address": to_hex, "amount": 5 },
            "type_url": "type.googleapis.com/protocol.TransferContract",
        })
    );
    assert!(built.get("signature").is_none() && built.get("ret").is_none() && raw.get("fee_limit").is_none());
    let body =
        json!({ "owner_address": base58, "to_address": to_base58, "amount": 5, "visible": true, "extra_data": "hi" });
    let visible = post(&net, "createtransaction", body).await;
    assert_eq!(visible["raw_data"]["contract"][0]["parameter"]["value"]["to_address"], to_base58);
    assert_eq!(visible["raw_data"]["data"], "6869");

    // The JSON that was built is what is signed and sent, in both forms.
    for transaction in [built, visible] {
        let id = hex::decode(transaction["txID"].as_str().unwrap()).unwrap();
        let signature = from.sign_hash(&id.as_slice().try_into().unwrap()).unwrap();
        let mut signed = transaction.clone();
        // Clients add what they like, and nulls, which are left out on the way.
        signed["permission"] = Value::Null;
        signed["raw_data"]["contract"][0]["parameter"]["value"]["to_address_name"] = json!({ "nobody": null, "n": 1 });
        signed["raw_data"]["scripts"] = Value::Null;
        signed["signature"] = json!([hex::encode(signature)]);
        let weight = net.post("/wallet/getsignweight", &signed.to_string()).await;
        assert_eq!((&weight["current_weight"], &weight["result"]), (&json!(1), &json!({})), "{weight}");
        assert_eq!(weight["transaction"]["txid"], transaction["txID"]);
        let sent = net.post("/wallet/broadcasttransaction", &signed.to_string()).await;
        assert_eq!(sent, json!({ "result": true, "txid": transaction["txID"] }));
        let kept = net.post("/wallet/gettransactionbyid", &json!({ "value": transaction["txID"] }).to_string()).await;
        assert_eq!(kept["raw_data_hex"], transaction["raw_data_hex"]);
        assert_eq!(kept["ret"], json!([{ "contractRet": "SUCCESS" }]));
        assert!(kept.get("visible").is_none());
    }

    let refused = |body: Value| post(&net, "createtransaction", body);
    assert_eq!(
        refused(json!({ "owner_address": hex, "to_address": hex, "amount": 5 })).await["Error"],
        format!("{VALIDATE}Cannot transfer TRX to yourself.")
    );
    let error = refused(json!({ "owner_address": hex, "to_address": to_hex, "amount": "5" })).await;
    assert!(error["Error"].as_str().unwrap().contains("Couldn't parse integer"), "{error}");
    let common = json!({ "contractType": "TransferContract", "owner_address": hex, "to_address": to_hex, "amount": 5 });
    let common = post(&net, "createCommonTransaction", common).await;
    assert_eq!(common["raw_data"]["contract"][0]["type"], "TransferContract");
    net.stop().await;
}

#[tokio::test]
async fn contracts_are_deployed_called_and_estimated() {
    let net = Net::start(None, 1).await;
    let owner = &net.ready.accounts[0];
    let (hex, base58) = names(owner);
    let usdt = address::to_hex(net.ready.usdt.unwrap());

    // Numbers may be quoted here, and the interface is a text or an array, as compilers print it.
    let entry = json!({ "inputs": [{ "internalType": "uint256", "name": "n", "type": "uint256" }], "name": "f", "outputs": [],
        "stateMutability": "nonpayable", "type": "function" });
    let code = "6001600c60003960016000f300";
    let mut built = Vec::new();
    for abi in [json!([entry]), json!(json!([entry]).to_string())] {
        let body = json!({ "owner_address": hex, "abi": abi, "bytecode": code, "name": "c", "fee_limit": "1000000000",
            "consume_user_resource_percent": 100, "origin_energy_limit": "1", "call_value": 0 });
        built.push(post(&net, "deploycontract", body).await);
    }
    for deploy in &built {
        let value = &deploy["raw_data"]["contract"][0]["parameter"]["value"];
        assert_eq!(value["new_contract"]["origin_address"], hex);
        assert_eq!(value["new_contract"]["abi"]["entrys"][0]["stateMutability"], "Nonpayable");
        assert_eq!(deploy["raw_data"]["fee_limit"], 1_000_000_000);
        let id: [u8; 32] = hex::decode(deploy["txID"].as_str().unwrap()).unwrap().try_into().unwrap();
        let at = address::to_hex(wallet::contract_address(&id, owner.address()));
        assert_eq!(deploy["contract_address"], at);
    }
    let refused = json!({ "owner_address": hex, "bytecode": code, "consume_user_resource_percent": 101 });
    let refused = post(&net, "deploycontract", refused).await;
    assert_eq!(refused["Error"], format!("{VALIDATE}percent must be >= 0 and <= 100"));

    // A function that changes nothing is called at once; one that does is only built.
    let balance = json!({ "owner_address": hex, "contract_address": usdt, "function_selector": "balanceOf(address)",
        "parameter": hex::encode(token::address_word(owner.address())) });
    let called = post(&net, "triggersmartcontract", balance.clone()).await;
    assert_eq!(called["constant_result"][0], hex::encode(token::number_word(1_000_000_000_000_000)), "{called}");
    assert_eq!(called["transaction"]["ret"], json!([{}]));
    let send = json!({ "owner_address": hex, "contract_address": usdt, "fee_limit": 100_000_000, "call_value": 0,
        "data": hex::encode(token::transfer(Wallet::derive("r", 0).address(), 1)) });
    let sent = post(&net, "triggersmartcontract", send.clone()).await;
    assert_eq!(sent["result"], json!({ "result": true }));
    assert_eq!(sent["transaction"]["raw_data"]["fee_limit"], 100_000_000);
    assert_eq!(sent["transaction"]["visible"], false);

    // 28,200 energy are 2.82 TRX; the range is halved until it is as small as 1 TRX.
    let tried = post(&net, "triggerconstantcontract", send.clone()).await;
    let used = tried["energy_used"].as_u64().unwrap();
    assert!(tried["logs"][0]["address"] == usdt[2..], "{tried}");
    let required = post(&net, "estimateenergy", send).await["energy_required"].as_u64().unwrap();
    assert!(used <= required && required - used <= 10_000, "{used} {required}");

    let refuse = async |call: &str, body: Value| {
        let answer = post(&net, call, body).await;
        let message = hex::decode(answer["result"]["message"].as_str().unwrap()).unwrap();
        (answer["result"]["code"].as_str().unwrap().to_owned(), String::from_utf8(message).unwrap())
    };
    let missing = "class java.security.InvalidParameterException : owner_address isn't set.";
    let other = |message: &str| ("OTHER_ERROR".to_owned(), message.to_owned());
    let invalid = |message: &str| ("CONTRACT_VALIDATE_ERROR".to_owned(), message.to_owned());
    for call in ["triggersmartcontract", "triggerconstantcontract", "estimateenergy"] {
        assert_eq!(refuse(call, json!({})).await, other(missing));
        assert_eq!(refuse(call, json!([])).await.0, "OTHER_ERROR");
        let (code, message) = refuse(call, json!({ "owner_address": 5, "contract_address": usdt })).await;
        assert_eq!(code, "OTHER_ERROR");
        assert!(message.starts_with(FORMAT) && message.ends_with("Expected string."), "{message}");
    }
    let nowhere = json!({ "owner_address": hex, "contract_address": hex, "data": "00" });
    assert_eq!(
        refuse("triggersmartcontract", nowhere.clone()).await,
        invalid("No contract or not a valid smart contract")
    );
    assert_eq!(refuse("triggerconstantcontract", nowhere).await, invalid("Smart contract is not exist."));
    let visible = json!({ "owner_address": base58, "contract_address": base58, "data": "00", "visible": true });
    let visible = post(&net, "triggerconstantcontract", visible).await;
    assert_eq!(visible["result"]["message"], "Smart contract is not exist.");
    let created = post(&net, "triggerconstantcontract", json!({ "owner_address": hex, "data": code })).await;
    assert_eq!(created["constant_result"], json!(["00"]));
    assert_eq!(created["transaction"]["raw_data"]["contract"][0]["type"], "CreateSmartContract");
    assert!(created["transaction"]["contract_address"].is_string());
    let invalid_code = json!({ "owner_address": hex, "data": "fe" });
    let (code, message) = refuse("triggerconstantcontract", invalid_code).await;
    assert_eq!(code, "OTHER_ERROR");
    assert!(message.starts_with("class org.tron.core.vm.program.Program$IllegalOperationException : "), "{message}");
    net.stop().await;
}

#[tokio::test]
async fn blocks_and_the_pool_are_counted_and_listed() {
    let net = Net::start(Some(std::time::Duration::from_secs(3_600)), 1).await;
    let blocks = post(&net, "getblockbylatestnum", json!({ "num": 5 })).await;
    assert_eq!(blocks["block"].as_array().unwrap().len(), 2, "genesis and the token's");
    assert_eq!(blocks["block"][1]["block_header"]["raw_data"]["number"], 1);
    let range = post(&net, "getblockbylimitnext", json!({ "startNum": 0, "endNum": 100 })).await;
    assert_eq!(range, blocks);
    let newest = post(&net, "getblock", json!({})).await;
    assert!(newest.get("transactions").is_none());
    assert_eq!(newest["blockID"], blocks["block"][1]["blockID"]);
    let detailed = post(&net, "getblock", json!({ "id_or_num": newest["blockID"], "detail": true })).await;
    assert_eq!(detailed, blocks["block"][1]);
    assert_eq!(post(&net, "gettransactioncountbyblocknum", json!({ "num": 1 })).await, json!({ "count": 1 }));
    assert_eq!(post(&net, "totaltransaction", json!({})).await, json!({ "num": 1 }));

    assert_eq!(post(&net, "getpendingsize", json!({})).await, json!({ "pendingSize": 0 }));
    let id = pay(&net, 0, 1, 5).await;
    assert_eq!(post(&net, "getpendingsize", json!({})).await, json!({ "pendingSize": 1 }));
    assert_eq!(post(&net, "gettransactionlistfrompending", json!({})).await, json!({ "txId": [id] }));
    let pending = post(&net, "gettransactionfrompending", json!({ "value": id })).await;
    assert_eq!(pending["txID"], id);
    assert_eq!(post(&net, "gettransactionbyid", json!({ "value": id })).await, pending);
    assert_eq!(net.get(&format!("/walletsolidity/gettransactionbyid?value={id}")).await, json!({}));
    net.stop().await;
}

#[tokio::test]
async fn contracts_witnesses_and_prices_are_told() {
    let net = Net::start(None, 1).await;
    let usdt = net.ready.usdt.unwrap();
    let info = post(&net, "getcontractinfo", json!({ "value": address::to_base58(usdt), "visible": true })).await;
    let contract = post(&net, "getcontract", json!({ "value": address::to_hex(usdt) })).await;
    assert_eq!(info["smart_contract"]["contract_address"], address::to_base58(usdt));
    assert_eq!(info["smart_contract"]["code_hash"], contract["code_hash"]);
    assert_eq!(info["contract_state"], json!({}));
    assert!(info["runtimecode"].as_str().unwrap().len() > 1_000);

    let now = net.get("/wallet/getnowblock").await;
    let witness = &now["block_header"]["raw_data"]["witness_address"];
    let listed = net.get("/wallet/listwitnesses").await;
    let made = json!({ "address": witness, "totalProduced": 1, "latestBlockNum": 1, "isJobs": true });
    assert_eq!(listed, json!({ "witnesses": [made] }));
    assert_eq!(post(&net, "getenergyprices", json!({})).await, json!({ "prices": "0:100" }));
    assert_eq!(post(&net, "getbandwidthprices", json!({})).await, json!({ "prices": "0:1000" }));
    assert_eq!(post(&net, "getmemofee", json!({})).await, json!({ "prices": "0:1000000" }));
    let burnt = net.get("/wallet/getburntrx").await["burnTrxAmount"].as_u64().unwrap();
    assert!(burnt > 0, "the token's deployment was paid");
    assert_eq!(net.get("/walletsolidity/getburntrx").await, json!({ "burnTrxAmount": 0 }));

    let (hex, base58) = names(&net.ready.accounts[0]);
    let validate = async |address: &str| post(&net, "validateaddress", json!({ "address": address })).await;
    assert_eq!(validate(&hex).await, json!({ "result": true, "message": "Hex string format" }));
    assert_eq!(validate(&base58).await, json!({ "result": true, "message": "Base58check format" }));
    let wrong = format!("42{}", &hex[2..]);
    assert_eq!(validate(&wrong).await, json!({ "result": false, "message": "Invalid address" }));
    assert_eq!(validate("41").await, json!({ "result": false, "message": "Length error" }));
    assert_eq!(post(&net, "validateaddress", json!({})).await, json!({ "result": false }));
    net.stop().await;
}

#[tokio::test]
async fn javascript_may_have_its_integers_as_texts() {
    let net = Net::start(None, 1).await;
    let (hex, _) = names(&net.ready.accounts[0]);
    let account = net.get(&format!("/wallet/getaccount?address={hex}&int64_as_string=true")).await;
    assert!(account["balance"].is_string() && account["owner_permission"]["threshold"] == "1", "{account}");
    assert_eq!(account["active_permission"][0]["id"], 2, "an int32 stays a number");
    let block = net.get("/wallet/getblock?detail=true&int64_as_string=true").await;
    assert_eq!(block["block_header"]["raw_data"]["number"], "1");
    assert!(block["block_header"]["raw_data"]["version"].is_number());
    assert!(block["transactions"][0]["raw_data"]["fee_limit"].is_string());
    let by_body = post(&net, "getaccount", json!({ "address": hex, "int64_as_string": true })).await;
    assert!(by_body["balance"].is_number(), "only a URL can say so");
    net.stop().await;
}

#[tokio::test]
async fn a_hex_broadcast_prints_the_protobuf_message() {
    let net = Net::start(None, 1).await;
    let from = &net.ready.accounts[0];
    let now = net.get("/wallet/getnowblock").await;
    let id = hex::decode(now["blockID"].as_str().unwrap()).unwrap().try_into().unwrap();
    let validity = Validity::after(id, now["block_header"]["raw_data"]["timestamp"].as_u64().unwrap(), 60_000);
    let message = wallet::transfer(from.address(), net.ready.accounts[1].address(), 5);
    let (bytes, _) = wallet::signed(from, &message, 0, validity);
    let answer = post(&net, "broadcasthex", json!({ "transaction": hex::encode(bytes) })).await;
    let printed: Value = serde_json::from_str(answer["transaction"].as_str().unwrap()).unwrap();
    let contract = &printed["raw_data"]["contract"][0];
    assert_eq!(contract["type"], "TransferContract");
    assert!(contract["parameter"]["value"].is_string(), "the parameter stays encoded");
    assert!(printed.get("txID").is_none());
    net.stop().await;
}

#[tokio::test]
async fn events_are_read_with_the_contracts_interface() {
    let net = Net::start(None, 1).await;
    let owner = &net.ready.accounts[0];
    let usdt = net.ready.usdt.unwrap();
    let recipient = Wallet::derive("r", 0).address();
    let mut ids = Vec::new();
    for amount in [1_u64, 2, 3] {
        let send = json!({ "owner_address": address::to_hex(owner.address()), "contract_address": address::to_hex(usdt),
            "fee_limit": 100_000_000, "data": hex::encode(token::transfer(recipient, amount)) });
        let mut sent = post(&net, "triggersmartcontract", send).await["transaction"].clone();
        let id: [u8; 32] = hex::decode(sent["txID"].as_str().unwrap()).unwrap().try_into().unwrap();
        sent["signature"] = json!([hex::encode(owner.sign_hash(&id).unwrap())]);
        assert_eq!(post(&net, "broadcasttransaction", sent).await["result"], true);
        ids.push(hex::encode(id));
    }
    let by_transaction = net.get(&format!("/v1/transactions/{}/events", ids[2])).await;
    let info = post(&net, "gettransactioninfobyid", json!({ "value": ids[2] })).await;
    let base58 = address::to_base58(usdt);
    let (from, to) = (format!("0x{}", hex::encode(owner.address())), format!("0x{}", hex::encode(recipient)));
    assert_eq!(
        by_transaction["data"],
        json!([{
            "block_number": info["blockNumber"],
            "block_timestamp": info["blockTimeStamp"],
            "caller_contract_address": base58,
            "contract_address": base58,
            "event_index": 0,
            "event_name": "Transfer",
            "event": "Transfer(address indexed from, address indexed to, uint256 value)",
            "result": { "0": from, "1": to, "2": "3", "from": from, "to": to, "value": "3" },
            "result_type": { "from": "address", "to": "address", "value": "uint256" },
            "transaction_id": ids[2],
            "_unconfirmed": true,
        }])
    );
    assert_eq!((&by_transaction["success"], &by_transaction["meta"]["page_size"]), (&json!(true), &json!(1)));

    let values = async |query: &str| {
        let page = net.get(&format!("/v1/contracts/{base58}/events?event_name=Transfer&{query}")).await;
        let values = page["data"].as_array().unwrap().iter().map(|e| e["result"]["value"].as_str().unwrap().to_owned());
        (values.collect::<Vec<_>>(), page["meta"]["fingerprint"].as_str().map(str::to_owned))
    };
    // The one that made the token comes last.
    let minted = "1000000000000000".to_owned();
    let list = |n: &[&str]| n.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let (first, more) = values("limit=3").await;
    assert_eq!(first, list(&["3", "2", "1"]));
    assert_eq!(values(&format!("limit=3&fingerprint={}", more.unwrap())).await, (vec![minted.clone()], None));
    let (first, more) = values("order_by=block_timestamp,asc&limit=2").await;
    assert_eq!(first, [minted, "1".to_owned()]);
    let rest = values(&format!("order_by=block_timestamp,asc&fingerprint={}", more.unwrap())).await;
    assert_eq!(rest, (list(&["2", "3"]), None));
    assert_eq!(values("only_unconfirmed=true").await.0, list(&["3"]));
    assert_eq!(values("only_confirmed=true&limit=1").await.0, list(&["2"]));
    assert_eq!(values(&format!("block_number={}", info["blockNumber"])).await.0, list(&["3"]));
    assert_eq!(values(&format!("min_block_timestamp={}", info["blockTimeStamp"])).await.0, list(&["3"]));
    assert_eq!(net.get("/v1/blocks/latest/events").await["data"], by_transaction["data"]);
    assert_eq!(net.get(&format!("/v1/transactions/{}/events", "00".repeat(32))).await["data"], json!([]));
    assert_eq!(net.raw("GET", "/v1/contracts/nobody/events", "").await.0, 400);
    assert_eq!(net.raw("GET", &format!("/v1/contracts/{base58}/events?fingerprint=1-2"), "").await.0, 400);
    assert_eq!(net.raw("GET", "/v1/accounts/nobody", "").await.0, 404);
    net.stop().await;
}
