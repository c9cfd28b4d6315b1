"""Reading blocks, transactions, accounts and parameters; the asynchronous client; and the calls that tronpy does without."""

import asyncio
import hashlib

from harness import A, B, D, FIXTURES, NET, artifact, ask, async_tron, balance, raises, same, send, solid, step, transfer, tron
from conformance import FRESH, token
from tronpy import Contract
from tronpy.exceptions import AddressNotFound, ApiError, BlockNotFound, TransactionNotFound

sent = send(transfer(A, B, 42), A)


@step("blocks", "/wallet/getnowblock", "/wallet/getblockbynum", "/wallet/getblockbyid", asked=["/wallet/getblock"])
def _():
    head = tron.get_latest_block()
    number = head["block_header"]["raw_data"]["number"]
    # A full node looks for `visible` in the query here, and tronpy sends it in the body: the addresses are hex.
    same([tron.get_block(x, visible=False) for x in (number, head["blockID"])], [head, head], "the same block")
    same(int(head["blockID"][:16], 16), number, "the id begins with the number")
    same(ask("/wallet/getblock", {"id_or_num": str(number), "detail": True}), head, "the same block")
    raises(BlockNotFound, "", tron.get_block, 10**9)


@step("blocks with their transactions", "/wallet/getblockbynum")
def _():
    transactions = tron.get_block(sent["blockNumber"])["transactions"]
    (found,) = [t for t in transactions if t["txID"] == sent["id"]]
    value = found["raw_data"]["contract"][0]["parameter"]["value"]
    same(value, {"amount": 42, "owner_address": A.address, "to_address": B.address}, "transaction")
    same(found["ret"], [{"contractRet": "SUCCESS"}], "result")


@step("a transaction and its receipt", "/wallet/gettransactionbyid", "/wallet/gettransactioninfobyid")
def _():
    found = tron.get_transaction(sent["id"])
    same((found["txID"], found["ret"]), (sent["id"], [{"contractRet": "SUCCESS"}]), "transaction")
    same(hashlib.sha256(bytes.fromhex(found["raw_data_hex"])).hexdigest(), sent["id"], "the id is the raw data's hash")
    same(tron.get_transaction_info(sent["id"]), sent, "receipt")
    raises(TransactionNotFound, "", tron.get_transaction, "00" * 32)
    raises(TransactionNotFound, "", tron.get_transaction_info, "00" * 32)


@step("an unreadable id", "/wallet/gettransactionbyid")
def _():
    try:
        tron.get_transaction("zz" * 32)
    except ApiError as error:
        same(str(error).startswith("class "), True, str(error))
        return "`ApiError`"
    raise AssertionError("it was read")


ASKED = [f"/walletsolidity/{c}" for c in ("getaccount", "gettransactionbyid", "triggerconstantcontract", "estimateenergy")]


@step(
    "the solidified tree",
    "/walletsolidity/getnowblock",
    "/walletsolidity/gettransactioninfobyid",
    "/wallet/getnodeinfo",
    asked=ASKED,
)
def _():
    same(solid(sent["id"]), sent, "receipt")
    head, behind = tron.get_latest_block_number(), tron.get_latest_solid_block()["block_header"]["raw_data"]["number"]
    same(head - behind >= NET["solid_lag"] - 1, True, f"it lags: {head} {behind}")
    # Not in a block, so not solidified.
    answer = transfer(A, B, 43).build().sign(A.key).broadcast()
    raises(TransactionNotFound, "", tron.get_solid_transaction_info, answer.txid)
    same(ask("/walletsolidity/gettransactionbyid", {"value": answer.txid}), {}, "transaction before its time")
    same(ask("/walletsolidity/gettransactionbyid", {"value": sent["id"]})["txID"], sent["id"], "transaction")
    account = ask("/walletsolidity/getaccount", {"address": D.address, "visible": True})
    same((account["address"], account["balance"]), (D.address, NET["balance_trx"] * 10**6), "an account nobody used")
    call = {
        "owner_address": A.address,
        "contract_address": token.contract_address,
        "function_selector": "decimals()",
        "visible": True,
    }
    same(ask("/walletsolidity/triggerconstantcontract", call)["constant_result"], [f"{6:064x}"], "constant call")
    same(ask("/walletsolidity/estimateenergy", call)["energy_required"] > 0, True, "estimate")


@step("an account's resources", "/wallet/getaccountnet", "/wallet/getaccountresource")
def _():
    same((tron.get_bandwidth(D.address), tron.get_energy(D.address)), (600, 0), "unused")
    used = send(transfer(D, B, 1), D)["receipt"]["net_usage"]
    same(tron.get_account_resource(D.address)["freeNetUsed"], used, "used")
    same(tron.get_bandwidth(D.address), 600 - used, "left")
    nobody = tron.generate_address()["base58check_address"]
    raises(AddressNotFound, "account not found on-chain", tron.get_account_resource, nobody)


@step("the node and its parameters", "/wallet/getnodeinfo", "/wallet/getchainparameters")
def _():
    node = tron.get_node_info()
    same(node["block"].startswith("Num:"), True, "node")
    values = {p["key"]: p.get("value") for p in tron.get_chain_parameters()}
    wanted = {"getEnergyFee": 100, "getTransactionFee": 1000, "getMemoFee": 1_000_000, "getFreeNetLimit": 600}
    same({key: values[key] for key in wanted}, wanted, "parameters")
    same(tron.get_latest_block_id()[:16], f"{tron.get_latest_block_number():016x}", "head")


@step("prices", asked=["/wallet/getenergyprices", "/wallet/getbandwidthprices"])
def _():
    same(ask("/wallet/getenergyprices")["prices"].split(":")[-1], "100", "energy")
    same(ask("/wallet/getbandwidthprices")["prices"].split(":")[-1], "1000", "bandwidth")


@step("is it an address", asked=["/wallet/validateaddress"])
def _():
    valid = [ask("/wallet/validateaddress", {"address": text})["result"] for text in (A.address, "T" + A.address[2:])]
    same(valid, [True, False], "answers")


@step("all receipts of a block", asked=["/wallet/gettransactioninfobyblocknum"])
def _():
    infos = ask("/wallet/gettransactioninfobyblocknum", {"num": sent["blockNumber"], "visible": True})
    same([info for info in infos if info["id"] == sent["id"]], [sent], "receipt")


@step("a memo", "/wallet/broadcasttransaction")
def _():
    info = send(transfer(A, B, 7).memo("for tea"), A)
    same(info["fee"] - info["receipt"].get("net_fee", 0), 1_000_000, "a memo costs 1 TRX")
    data = tron.get_transaction(info["id"])["raw_data"]["data"]
    same(data, "for tea".encode().hex(), "note")


@step("OpenZeppelin's ERC-20", "/wallet/broadcasttransaction", "/wallet/triggerconstantcontract")
def _():
    made = FIXTURES["Coin"]
    contract = Contract(name="Coin", bytecode=made["bytecode"], abi=made["abi"])
    info = send(tron.trx.deploy_contract(A.address, contract).fee_limit(5_000_000_000), A)
    coin = tron.get_contract(info["contract_address"])
    moved = send(coin.functions.transfer(B.address, 400).with_owner(A.address).fee_limit(10**9), A)
    same((moved["receipt"]["result"], int(moved["contractResult"][0], 16)), ("SUCCESS", 1), "transfer")
    same([coin.functions.balanceOf(x.address) for x in (A, B)], [600, 400], "balances")
    return f"{moved['receipt']['energy_usage_total']} energy"


@step("the asynchronous client", "/wallet/broadcasttransaction", "/wallet/triggerconstantcontract", "/wallet/getaccount")
def _():
    async def run():
        async with async_tron() as client:
            before = balance(FRESH)
            builder = client.trx.transfer(A.address, FRESH.address, 9)
            transaction = (await builder.build()).sign(A.key)
            info = await (await transaction.broadcast()).wait(interval=0.05)
            same(info["id"], transaction.txid, "id")
            same(int(await client.get_account_balance(FRESH.address) * 1_000_000), before + 9, "balance")
            contract = await client.get_contract(token.contract_address)
            same(await contract.functions.symbol(), "USDT", "symbol")

    asyncio.run(run())


@step("witnesses", "/wallet/listwitnesses")
def _():
    head = tron.get_latest_block()["block_header"]["raw_data"]
    (witness,) = tron.list_witnesses()
    same(tron.to_hex_address(witness["address"]), tron.to_hex_address(head["witness_address"]), "who makes the blocks")


@step("what this network has none of", "/wallet/listnodes", "/wallet/getaccount")
def _():
    same((tron.list_nodes(), tron.get_account_asset_balances(A.address)), ([], {}), "nodes and TRC-10 tokens")


@step("a contract's settings and code", "/wallet/getcontractinfo")
def _():
    info = tron.get_contract_info(token.contract_address)
    same(info["smart_contract"]["origin_address"], A.address, "deployer")
    same(info["runtimecode"], artifact("TestUsdt")["deployedBytecode"], "code")
