"""What a network must do for its users, and what it must refuse. The tronweb tests have steps of the same names."""

import time

from harness import A, B, C, Account, artifact, balance, raises, same, send, solid, step, transfer, tron
from tronpy import Contract
from tronpy.exceptions import (
    AddressNotFound,
    BadSignature,
    TaposError,
    TransactionError,
    TvmError,
    UnknownError,
    ValidationError,
)
from tronpy.keys import PrivateKey

# tronpy lets the node compute a transaction's id.
SEND = ("/wallet/getsignweight", "/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid")
LIMIT = 1_000_000_000
FRESH = Account(PrivateKey.random().hex())


@step("create and fund an account by a transfer", *SEND, "/wallet/getaccount")
def _():
    raises(AddressNotFound, "account not found on-chain", tron.get_account, FRESH.address)
    before = balance(A)
    info = send(transfer(A, FRESH, 5_000_000), A)
    # 1 TRX for the account, 0.1 TRX in place of bandwidth.
    same((info["fee"], info["receipt"]), (1_100_000, {"net_fee": 100_000}), "fee")
    same((balance(FRESH), balance(A)), (5_000_000, before - 6_100_000), "balances")
    return "1.1 TRX"


@step("transfer TRX", *SEND, "/wallet/getaccount")
def _():
    before, to = balance(C), balance(FRESH)
    info = send(transfer(C, FRESH, 250_000), C)
    same((info.get("fee"), list(info["receipt"])), (None, ["net_usage"]), "free bandwidth pays")
    same((balance(C), balance(FRESH)), (before - 250_000, to + 250_000), "balances")


token = None


@step("deploy a token", *SEND, "/wallet/getcontract")
def _():
    global token
    made = artifact("TestUsdt")
    bytecode = made["bytecode"] + (10**9).to_bytes(32, "big").hex()
    contract = Contract(name="Mine", bytecode=bytecode, abi=made["abi"])
    info = send(tron.trx.deploy_contract(A.address, contract).fee_limit(LIMIT), A)
    receipt = info["receipt"]
    same((receipt["result"], info["contractResult"]), ("SUCCESS", [made["deployedBytecode"]]), "deployment")
    same(receipt["energy_fee"], receipt["energy_usage_total"] * 100, "energy is burnt at 100 sun")
    token = tron.get_contract(info["contract_address"])
    same((token.name, token.bytecode.hex() if isinstance(token.bytecode, bytes) else token.bytecode), ("Mine", bytecode), "contract")
    same(len(token.abi), len(made["abi"]), "interface")
    return f"{receipt['energy_usage_total']} energy"


def token_transfer(source, to, amount, limit=LIMIT):
    return token.functions.transfer(to.address, amount).with_owner(source.address).fee_limit(limit)


@step("transfer a token, read its balances", *SEND, "/wallet/triggerconstantcontract")
def _():
    same((token.functions.symbol(), token.functions.balanceOf(A.address)), ("USDT", 10**9), "before")
    answer = token_transfer(A, B, 700).build().sign(A.key).broadcast()
    same(answer.result(interval=0.05), False, "answers false though it succeeded")
    info = answer.wait()
    same(info["receipt"]["result"], "SUCCESS", "receipt")
    same((token.functions.balanceOf(A.address), token.functions.balanceOf(B.address)), (10**9 - 700, 700), "balances")
    return f"{info['receipt']['energy_usage_total']} energy"


@step("read a receipt and its events", *SEND, "/walletsolidity/gettransactioninfobyid")
def _():
    info = send(token_transfer(A, B, 5), A)
    events = list(token.events.Transfer.process_receipt(info))
    same(len(events), 1, "events")
    same(events[0]["args"], {"from": A.address, "to": B.address, "value": 5}, "event")
    same((info["receipt"]["result"], info["contract_address"]), ("SUCCESS", token.contract_address), "receipt")
    receipt = info["receipt"]
    same(info["fee"], receipt.get("energy_fee", 0) + receipt.get("net_fee", 0), "fee")
    same(solid(info["id"]), info, "the solidified receipt")


def words(to, amount):
    return (bytes(12) + bytes.fromhex(tron.to_hex_address(to.address))[1:] + amount.to_bytes(32, "big")).hex()


@step("estimate energy", "/wallet/estimateenergy", *SEND)
def _():
    selector, at = "transfer(address,uint256)", token.contract_address
    energy = tron.get_estimated_energy(A.address, at, selector, words(FRESH, 1))
    used = send(token_transfer(A, FRESH, 1), A)["receipt"]["energy_usage_total"]
    assert used <= energy, f"needs {used}"
    return f"{energy} for {used}"


@step("a failing transfer (out of energy)", *SEND)
def _():
    info = send(token_transfer(A, B, 1, limit=100_000), A)
    receipt = info["receipt"]
    same((info["result"], receipt["result"]), ("FAILED", "OUT_OF_ENERGY"), "result")
    same((receipt["energy_fee"], receipt["energy_usage_total"], info.get("log")), (100_000, 1_000, None), "burns the limit")
    return "`OUT_OF_ENERGY`"


@step("a reverting transfer", *SEND)
def _():
    answer = token_transfer(C, B, 10**9).build().sign(C.key).broadcast()
    info = answer.wait(interval=0.05)
    same((info["result"], info["receipt"]["result"], info.get("log")), ("FAILED", "REVERT", None), "result")
    raises(TvmError, "REVERT opcode executed: balance", answer.result)
    return "`REVERT`, `TvmError`"


@step("a reverting call without a transaction", "/wallet/triggerconstantcontract")
def _():
    arguments = (C.address, token.contract_address, "unpause()", "")
    return raises(TvmError, "REVERT opcode executed: only the owner", tron.trigger_const_smart_contract_function, *arguments)


@step("broadcast twice", "/wallet/broadcasttransaction")
def _():
    transaction = transfer(A, B, 1).build().sign(A.key)
    transaction.broadcast().wait(interval=0.05)
    try:
        transaction.broadcast()
    except UnknownError as error:
        same(error.args, ("Dup transaction.", "DUP_TRANSACTION_ERROR"), "error")
        return "`UnknownError`, `DUP_TRANSACTION_ERROR`"
    raise AssertionError("it was taken")


def altered(amount, **changes):
    """A signed transfer with another reference block or other times."""
    transaction = transfer(A, B, amount).build()
    other = type(transaction)(raw_data=transaction._raw_data | changes, client=tron)
    # Not `sign`, which looks at the expiration itself.
    return other.set_signature([A.key.sign_msg_hash(bytes.fromhex(other.txid)).hex()])


@step("expired", "/wallet/broadcasttransaction")
def _():
    past = int(time.time() * 1000) - 3_600_000
    return raises(TransactionError, "Transaction expired", altered(2, expiration=past).broadcast)


@step("wrong reference block", "/wallet/broadcasttransaction")
def _():
    return raises(TaposError, "Tapos check error.", altered(3, ref_block_hash="0123456789abcdef").broadcast)


@step("wrong signature", "/wallet/broadcasttransaction")
def _():
    transaction = transfer(A, B, 4).build()
    signature = B.key.sign_msg_hash(bytes.fromhex(transaction.txid)).hex()
    # The node prints v as it is on the wire.
    message = f"Validate signature error: {signature} is signed by {B.address} but it is not contained of permission."
    return raises(BadSignature, message, transaction.set_signature([signature]).broadcast)


@step("insufficient balance", "/wallet/broadcasttransaction")
def _():
    transaction = transfer(FRESH, B, balance(FRESH) + 1).build().sign(FRESH.key)
    message = "Contract validate error : Validate TransferContract error, balance is not sufficient."
    return raises(ValidationError, message, transaction.broadcast)


@step("update permissions", *SEND, "/wallet/getaccount")
def _():
    permission = tron.get_account_permission(C.address)
    same((permission["owner"]["threshold"], permission["actives"][0]["id"]), (1, 2), "before")
    permission["actives"] = [
        {
            "type": 2,
            "permission_name": "two of three",
            "threshold": 2,
            # Transfers only.
            "operations": "02" + "00" * 31,
            "keys": [{"address": account.address, "weight": 1} for account in (A, B, C)],
        }
    ]
    info = send(tron.trx.account_permission_update(C.address, permission), C)
    same(info["fee"] - info["receipt"].get("net_fee", 0), 100_000_000, "fee")
    (active,) = tron.get_account(C.address)["active_permission"]
    seen = (active["id"], active["threshold"], active["operations"], len(active["keys"]))
    same(seen, (2, 2, "02" + "00" * 31, 3), "active permission")
    return "100 TRX"


@step("2-of-3 multi-sign", *SEND)
def _():
    transaction = transfer(C, B, 5).permission_id(2).build().sign(A.key)
    weight = tron.get_sign_weight(transaction)
    same((weight["result"]["code"], weight["current_weight"]), ("NOT_ENOUGH_PERMISSION", 1), "one signature")
    raises(BadSignature, "Validate signature error: sig error", transaction.broadcast)
    transaction.sign(C.key)
    weight = tron.get_sign_weight(transaction)
    same((weight["result"], weight["current_weight"]), ({}, 2), "two signatures")
    info = transaction.broadcast().wait(interval=0.05)
    same(info["fee"] - info["receipt"].get("net_fee", 0), 1_000_000, "multi-signature fee")
    return "1 TRX"


@step("a permission that does not allow the type", "/wallet/broadcasttransaction")
def _():
    transaction = token_transfer(C, B, 1).permission_id(2).build().sign(A.key).sign(C.key)
    return raises(BadSignature, "Validate signature error: Permission denied", transaction.broadcast)
