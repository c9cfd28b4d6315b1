"""What a wallet sees of transactions that wait for a block. On this network none comes by itself: a step makes one when it has
seen enough. The tronweb tests have steps of the same names."""

from harness import (
    A,
    B,
    C,
    LIMIT,
    NET,
    Account,
    ask,
    balance,
    control,
    deploy,
    raises,
    same,
    step,
    transfer,
    tron,
)
from tronpy.exceptions import TransactionNotFound, TvmError
from tronpy.keys import PrivateKey

TRX = 1_000_000
SENT = ("/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid")


def fresh():
    return Account(PrivateKey.random().hex())


def broadcast(builder, account):
    return builder.build().sign(account.key).broadcast().txid


def results(ids):
    return [tron.get_transaction(txid)["ret"][0]["contractRet"] for txid in ids]


def mine(ids):
    """Makes a block of these transactions; their receipts, after it was seen that there were none."""
    for txid in ids:
        raises(TransactionNotFound, "", tron.get_transaction_info, txid)
    before = tron.get_latest_block_number()
    control("mine")
    infos = [tron.get_transaction_info(txid) for txid in ids]
    same([info["blockNumber"] for info in infos], [before + 1] * len(ids), "block")
    return infos


def solidify(read, before, after):
    """Makes the blocks that the newest one is solidified by. The solidified tree must not know before the last one."""
    for _ in range(NET["solid_lag"]):
        same(read(), before, "not solidified yet")
        control("mine")
    same(read(), after, "solidified")


@step(
    "spend what just arrived",
    *SENT,
    "/wallet/getaccount",
    "/wallet/gettransactionbyid",
    asked=["/wallet/createtransaction", "/walletsolidity/getaccount"],
)
def _():
    one, two = fresh(), fresh()
    ids = [broadcast(transfer(A, one, 5 * TRX), A), broadcast(transfer(one, two, 2 * TRX), one)]
    # The second account costs the first one 1.1 TRX.
    same((balance(one), balance(two)), (1_900_000, 2_000_000), "balances")
    same(results(ids), ["SUCCESS", "SUCCESS"], "results")

    def make(amount):
        body = {"owner_address": one.address, "to_address": two.address, "amount": amount, "visible": True}
        return ask("/wallet/createtransaction", body)

    error = "class org.tron.core.exception.ContractValidateException : Validate TransferContract error, balance is not sufficient."
    same((make(1_900_001).get("Error"), len(make(1_900_000)["txID"])), (error, 64), "too much, and all")
    ids.append(broadcast(transfer(one, two, 1_900_000), one))
    same((balance(one), balance(two)), (0, 3_900_000), "balances")
    same([info.get("fee") for info in mine(ids)], [1_100_000, 1_100_000, None], "fees")
    same((balance(one), balance(two)), (0, 3_900_000), "balances in the block")

    def solid_balance():
        return ask("/walletsolidity/getaccount", {"address": two.address, "visible": True}).get("balance")

    solidify(solid_balance, None, 3_900_000)


def call(contract, owner, name, *arguments):
    return broadcast(getattr(contract.functions, name)(*arguments).with_owner(owner.address).fee_limit(LIMIT), owner)


def balances(coin, *accounts):
    return [coin.functions.balanceOf(account.address) for account in accounts]


CALL = ("/wallet/getcontract", "/wallet/triggerconstantcontract", *SENT)


@step("call a contract right after its deployment", *CALL, asked=["/walletsolidity/triggerconstantcontract"])
def _():
    txid, coin = deploy("Coin")
    same(balances(coin, A, B), [1000, 0], "minted")
    ids = [txid, call(coin, A, "transfer", B.address, 400)]
    same((balances(coin, A, B), results(ids)), ([600, 400], ["SUCCESS", "SUCCESS"]), "balances and results")
    same([info["receipt"]["result"] for info in mine(ids)], ["SUCCESS", "SUCCESS"], "receipts")

    def solid_balance():
        body = {
            "owner_address": A.address,
            "contract_address": coin.contract_address,
            "function_selector": "balanceOf(address)",
            "parameter": tron.to_hex_address(B.address)[2:].zfill(64),
            "visible": True,
        }
        answer = ask("/walletsolidity/triggerconstantcontract", body)
        words = answer.get("constant_result")
        return int(words[0], 16) if words else answer["result"]["message"]

    solidify(solid_balance, "Smart contract is not exist.", 400)


@step("approve, then transferFrom at once", *CALL)
def _():
    txid, coin = deploy("Coin")
    ids = [txid, call(coin, A, "approve", B.address, 50)]
    same(coin.functions.allowance(A.address, B.address), 50, "allowance")
    ids.append(call(coin, B, "transferFrom", A.address, C.address, 30))
    same((balances(coin, A, B, C), coin.functions.allowance(A.address, B.address)), ([970, 0, 30], 20), "spent")
    ids.append(call(coin, B, "transferFrom", A.address, C.address, 21))
    wanted = ["SUCCESS", "SUCCESS", "SUCCESS", "REVERT"]
    same((balances(coin, A, C), results(ids)), ([970, 30], wanted), "balances and results")
    same([info["receipt"]["result"] for info in mine(ids)], wanted, "receipts")
    same(balances(coin, A, B, C), [970, 0, 30], "balances in the block")


@step("seed 20 accounts without waiting", *CALL, "/wallet/getaccount")
def _():
    txid, coin = deploy("Coin")
    accounts = [fresh() for _ in range(20)]
    before, ids = balance(A), [txid]
    for i, account in enumerate(accounts):
        ids += [broadcast(transfer(A, account, 10 * TRX + i), A), call(coin, A, "transfer", account.address, 1 + i)]

    def read():
        return [balance(account) for account in accounts], balances(coin, *accounts), balances(coin, A)

    trxs, coins = [10 * TRX + i for i in range(20)], [1 + i for i in range(20)]
    same(read(), (trxs, coins, [790]), "balances")
    after = balance(A)
    infos = mine(ids)
    same(read(), (trxs, coins, [790]), "balances in the block")
    same((before - after, balance(A)), (sum(trxs) + sum(info["fee"] for info in infos[1:]), after), "what it cost")
    return "20 accounts"
