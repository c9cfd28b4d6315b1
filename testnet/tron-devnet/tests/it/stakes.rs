//! Staking, delegating and contract settings through the calls that build their transactions, and what is told about them.

use lucid_tron_devnet::address;
use serde_json::{Value, json};

use crate::client::Net;

const TRX: u64 = 1_000_000;

async fn post(net: &Net, call: &str, body: Value) -> Value {
    net.post(&format!("/wallet/{call}"), &body.to_string()).await
}

/// Lets the node build a transaction of account 0, signs and sends it, and answers what became of it.
async fn act(net: &Net, call: &str, body: Value) -> Value {
    let mut transaction = post(net, call, body).await;
    let id = hex::decode(transaction["txID"].as_str().unwrap_or_else(|| panic!("{transaction}"))).unwrap();
    let signature = net.ready.accounts[0].sign_hash(&id.as_slice().try_into().unwrap()).unwrap();
    transaction["signature"] = json!([hex::encode(signature)]);
    let sent = post(net, "broadcasttransaction", transaction.clone()).await;
    assert_eq!(sent["result"], true, "{sent}");
    post(net, "gettransactioninfobyid", json!({ "value": transaction["txID"] })).await
}

#[tokio::test]
async fn stakes_are_made_lent_and_taken_back() {
    let net = Net::start(None, 1).await;
    let [owner, other] = [0, 1].map(|i| address::to_hex(net.ready.accounts[i].address()));
    let none = post(&net, "getaccountresource", json!({ "address": owner })).await;
    assert!(none.get("NetLimit").is_none() && none["TotalNetWeight"].as_u64().unwrap() > 0, "{none}");

    let stake = |resource: &str| json!({ "owner_address": owner, "frozen_balance": 1_000 * TRX, "resource": resource });
    act(&net, "freezebalancev2", stake("ENERGY")).await;
    act(&net, "freezebalancev2", stake("BANDWIDTH")).await;
    let resource = post(&net, "getaccountresource", json!({ "address": owner })).await;
    assert_eq!(resource["tronPowerLimit"], 2_000);
    assert!(resource["EnergyLimit"].as_u64().unwrap() > 9_000, "{resource}");
    assert_eq!(post(&net, "getaccountnet", json!({ "address": owner })).await["NetLimit"], resource["NetLimit"]);
    let account = post(&net, "getaccount", json!({ "address": owner })).await;
    let amount = 1_000 * TRX;
    assert_eq!(
        account["frozenV2"],
        json!([{ "amount": amount }, { "type": "ENERGY", "amount": amount }, { "type": "TRON_POWER" }])
    );

    let most = post(&net, "getcandelegatedmaxsize", json!({ "owner_address": owner, "type": 1 })).await;
    assert_eq!(most, json!({ "max_size": amount }));
    let delegate =
        json!({ "owner_address": owner, "receiver_address": other, "balance": 400 * TRX, "resource": "ENERGY" });
    act(&net, "delegateresource", delegate).await;
    let locked = json!({ "owner_address": owner, "receiver_address": other, "balance": 100 * TRX, "resource": "ENERGY",
        "lock": true, "lock_period": 1_200 });
    act(&net, "delegateresource", locked).await;
    let delegations = post(&net, "getdelegatedresourcev2", json!({ "fromAddress": owner, "toAddress": other })).await;
    let open = json!({ "from": owner, "to": other, "frozen_balance_for_energy": 400 * TRX });
    assert_eq!(delegations["delegatedResource"][0], open);
    assert_eq!(delegations["delegatedResource"][1]["frozen_balance_for_energy"], 100 * TRX);
    assert!(delegations["delegatedResource"][1]["expire_time_for_energy"].is_u64(), "{delegations}");
    let index = post(&net, "getdelegatedresourceaccountindexv2", json!({ "value": other })).await;
    assert_eq!(index, json!({ "account": other, "fromAccounts": [owner] }));
    let index = post(&net, "getdelegatedresourceaccountindexv2", json!({ "value": owner })).await;
    assert_eq!(index, json!({ "account": owner, "toAccounts": [other] }));
    let account = post(&net, "getaccount", json!({ "address": owner })).await;
    assert_eq!(account["account_resource"]["delegated_frozenV2_balance_for_energy"], 500 * TRX);
    let account = post(&net, "getaccount", json!({ "address": other })).await;
    assert_eq!(account["account_resource"]["acquired_delegated_frozenV2_balance_for_energy"], 500 * TRX);
    let back = json!({ "owner_address": owner, "receiver_address": other, "balance": 400 * TRX, "resource": "ENERGY" });
    act(&net, "undelegateresource", back).await;
    let delegations = post(&net, "getdelegatedresourcev2", json!({ "fromAddress": owner, "toAddress": other })).await;
    assert_eq!(delegations["delegatedResource"].as_array().unwrap().len(), 1);

    let count =
        async || post(&net, "getavailableunfreezecount", json!({ "owner_address": owner })).await["count"].clone();
    assert_eq!(count().await, 32);
    act(
        &net,
        "unfreezebalancev2",
        json!({ "owner_address": owner, "unfreeze_balance": 300 * TRX, "resource": "ENERGY" }),
    )
    .await;
    assert_eq!(count().await, 31);
    let account = post(&net, "getaccount", json!({ "address": owner })).await;
    let unstaking = &account["unfrozenV2"][0];
    assert_eq!((&unstaking["type"], &unstaking["unfreeze_amount"]), (&json!("ENERGY"), &json!(300 * TRX)));
    let ends = unstaking["unfreeze_expire_time"].as_u64().unwrap();
    let at = async |time: u64| {
        post(&net, "getcanwithdrawunfreezeamount", json!({ "owner_address": owner, "timestamp": time })).await
    };
    assert_eq!((at(0).await, at(ends).await), (json!({}), json!({ "amount": 300 * TRX })));
    let early = post(&net, "withdrawexpireunfreeze", json!({ "owner_address": owner })).await;
    assert_eq!(
        early["Error"],
        "class org.tron.core.exception.ContractValidateException : no unFreeze balance to withdraw "
    );
    let info = act(&net, "cancelallunfreezev2", json!({ "owner_address": owner })).await;
    assert_eq!(
        info["cancel_unfreezeV2_amount"],
        json!([{ "key": "BANDWIDTH", "value": 0 }, { "key": "ENERGY", "value": 300 * TRX }, { "key": "TRON_POWER", "value": 0 }])
    );
    // The solidified tree lags.
    let solid =
        net.post("/walletsolidity/getavailableunfreezecount", &json!({ "owner_address": owner }).to_string()).await;
    assert_eq!(solid, json!({ "count": 31 }));
    net.stop().await;
}

#[tokio::test]
async fn contracts_and_accounts_can_be_set() {
    let net = Net::start(None, 1).await;
    let owner = address::to_hex(net.ready.accounts[0].address());
    let usdt = address::to_hex(net.ready.usdt.unwrap());
    let about = |name: &str, value: u64| json!({ "owner_address": owner, "contract_address": usdt, name: value });
    act(&net, "updatesetting", about("consume_user_resource_percent", 7)).await;
    act(&net, "updateenergylimit", about("origin_energy_limit", 1_234)).await;
    let contract = post(&net, "getcontract", json!({ "value": usdt })).await;
    assert_eq!(
        (&contract["consume_user_resource_percent"], &contract["origin_energy_limit"]),
        (&json!(7), &json!(1_234))
    );
    assert!(contract["abi"]["entrys"].is_array());
    act(&net, "clearabi", json!({ "owner_address": owner, "contract_address": usdt })).await;
    let contract = post(&net, "getcontract", json!({ "value": usdt })).await;
    assert!(contract["abi"].get("entrys").is_none(), "{contract}");

    act(&net, "updateaccount", json!({ "owner_address": owner, "account_name": hex::encode("someone") })).await;
    let account = net
        .get(&format!(
            "/wallet/getaccount?visible=true&address={}",
            address::to_base58(net.ready.accounts[0].address())
        ))
        .await;
    assert_eq!(account["account_name"], "someone");
    net.stop().await;
}
