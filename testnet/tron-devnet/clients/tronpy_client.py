"""tronpy, unchanged, against a running devnet.

Reads the network's JSON line from DEVNET, prints one line per call: ok|FAIL <TAB> call <TAB> what was seen. Exit code 1 if
anything failed.
"""

import copy
import json
import os
import sys
import time
from pathlib import Path

from tronpy import Contract, Tron
from tronpy.exceptions import (
    AddressNotFound,
    ApiError,
    BadSignature,
    BlockNotFound,
    TaposError,
    TransactionError,
    TransactionNotFound,
    TvmError,
    UnknownError,
    ValidationError,
)
from tronpy.keys import PrivateKey
from tronpy.providers import HTTPProvider

NET = json.loads(os.environ["DEVNET"])
CONTRACTS = Path(__file__).resolve().parent.parent / "contracts"
tron = Tron(HTTPProvider(NET["url"]))
# Accounts that the tronweb script leaves alone.
A, B, C = ((entry["address"], PrivateKey(bytes.fromhex(entry["key"]))) for entry in NET["accounts"][5:8])
failures = 0


def step(call):
    """Runs the decorated function at once and prints how it went."""

    def run(function):
        global failures
        try:
            print(f"ok\t{call}\t{function() or ''}", flush=True)
        except Exception as error:  # any failure is a line in the table
            failures += 1
            print(f"FAIL\t{call}\t{type(error).__name__}: {error}", flush=True)

    return run


def same(seen, wanted, what):
    assert seen == wanted, f"{what}: {seen!r} instead of {wanted!r}"


def raises(kind, function, *args):
    try:
        function(*args)
    except kind as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"no {kind.__name__}")


def send(builder, *keys):
    transaction = builder.build()
    for key in keys:
        transaction.sign(key)
    return transaction.broadcast().wait(interval=0.2)


@step("get_latest_block, get_block by number and by id")
def _():
    head = tron.get_latest_block()
    number = head["block_header"]["raw_data"]["number"]
    same(tron.get_block(number, visible=False)["blockID"], head["blockID"], "by number")
    same(tron.get_block(head["blockID"], visible=False)["blockID"], head["blockID"], "by id")
    same(tron.get_latest_solid_block_number() < number, True, "solid lags")
    raises(BlockNotFound, tron.get_block, 10**9)


@step("get_node_info, get_chain_parameters")
def _():
    tron.get_node_info()
    same({p["key"]: p.get("value") for p in tron.get_chain_parameters()}["getEnergyFee"], 100, "energy fee")


@step("get_account, get_account_balance, get_bandwidth, get_account_resource")
def _():
    same(tron.get_account(A[0])["address"], A[0], "address")
    same(tron.get_account_balance(A[0]) > 1000, True, "balance")
    same(tron.get_bandwidth(C[0]), 600, "bandwidth")
    same(tron.get_energy(C[0]), 0, "energy")
    return raises(AddressNotFound, tron.get_account, tron.generate_address()["base58check_address"])


fresh = PrivateKey.random()


@step("transfer creates and funds an account")
def _():
    to = fresh.public_key.to_base58check_address()
    info = send(tron.trx.transfer(A[0], to, 5_000_000).memo("hello"), A[1])
    same(info["fee"], 2_100_000, "fee, with the note's")
    same(int(tron.get_account_balance(to)), 5, "balance")


token = None


@step("deploy a token")
def _():
    global token
    made = json.loads((CONTRACTS / "TestUsdt.json").read_text())
    bytecode = made["bytecode"] + (10**9).to_bytes(32, "big").hex()
    contract = Contract(name="Mine", bytecode=bytecode, abi=made["abi"])
    info = send(tron.trx.deploy_contract(A[0], contract).fee_limit(1_000_000_000), A[1])
    same(info["receipt"]["result"], "SUCCESS", "receipt")
    token = tron.get_contract(info["contract_address"])
    same(token.name, "Mine", "name")
    same(token.functions.symbol(), "USDT", "symbol")
    same(token.functions.balanceOf(A[0]), 10**9, "balance")
    return f"{info['receipt']['energy_usage_total']} energy"


@step("token transfer, events, get_transaction, get_solid_transaction_info")
def _():
    transaction = token.functions.transfer(B[0], 700).with_owner(A[0]).fee_limit(100_000_000).build().sign(A[1])
    answer = transaction.broadcast()
    same(answer.result(interval=0.2), False, "answers false though it succeeded")
    info = answer.wait()
    same(token.functions.balanceOf(B[0]), 700, "balance")
    events = list(token.events.Transfer.process_receipt(info))
    same((len(events), events[0]["args"]["value"]), (1, 700), "event")
    same(tron.get_transaction(transaction.txid)["ret"][0]["contractRet"], "SUCCESS", "ret")
    same(answer.wait(interval=0.2, solid=True), info, "solidified")
    return f"{info['receipt']['energy_usage_total']} energy"


@step("get_estimated_energy")
def _():
    arguments = bytes(12) + bytes.fromhex(tron.to_hex_address(B[0]))[1:] + (1).to_bytes(32, "big")
    at = token.contract_address
    energy = tron.get_estimated_energy(A[0], at, "transfer(address,uint256)", arguments.hex())
    info = send(token.functions.transfer(B[0], 1).with_owner(A[0]).fee_limit(100_000_000), A[1])
    same(energy >= info["receipt"]["energy_usage_total"], True, "enough")
    return f"{energy} for {info['receipt']['energy_usage_total']}"


@step("a reverting transfer")
def _():
    transaction = token.functions.transfer(B[0], 1).with_owner(C[0]).fee_limit(100_000_000).build().sign(C[1])
    answer = transaction.broadcast()
    same(answer.wait(interval=0.2)["receipt"]["result"], "REVERT", "receipt")
    return raises(TvmError, answer.result)


@step("a failing transfer (out of energy)")
def _():
    info = send(token.functions.transfer(B[0], 1).with_owner(A[0]).fee_limit(100_000), A[1])
    same((info["result"], info["receipt"]["result"]), ("FAILED", "OUT_OF_ENERGY"), "receipt")


@step("trigger_const_smart_contract_function of a reverting call")
def _():
    return raises(TvmError, tron.trigger_const_smart_contract_function, C[0], token.contract_address, "unpause()", "")


@step("broadcast twice")
def _():
    transaction = tron.trx.transfer(A[0], B[0], 1).build().sign(A[1])
    transaction.broadcast().wait(interval=0.2)
    return raises(UnknownError, transaction.broadcast)


@step("expired")
def _():
    transaction = tron.trx.transfer(A[0], B[0], 2).build()
    raw = copy.deepcopy(transaction._raw_data)
    raw["expiration"] = int(time.time() * 1000) - 3_600_000
    other = type(transaction)(raw_data=raw, client=tron)
    other.set_signature([A[1].sign_msg_hash(bytes.fromhex(other.txid)).hex()])
    return raises(TransactionError, other.broadcast)


@step("wrong reference block")
def _():
    transaction = tron.trx.transfer(A[0], B[0], 3).build()
    raw = dict(transaction._raw_data, ref_block_hash="0123456789abcdef")
    return raises(TaposError, type(transaction)(raw_data=raw, client=tron).sign(A[1]).broadcast)


@step("wrong signature")
def _():
    transaction = tron.trx.transfer(A[0], B[0], 4).build()
    transaction.set_signature([B[1].sign_msg_hash(bytes.fromhex(transaction.txid)).hex()])
    return raises(BadSignature, transaction.broadcast)


@step("insufficient balance")
def _():
    owner = fresh.public_key.to_base58check_address()
    return raises(ValidationError, tron.trx.transfer(owner, B[0], 6_000_000).build().sign(fresh).broadcast)


@step("an unknown transaction, an unreadable one")
def _():
    raises(TransactionNotFound, tron.get_transaction, "00" * 32)
    return raises(ApiError, tron.get_transaction, "zz" * 32)


@step("account_permission_update, 2-of-3 multi-sign, get_sign_weight")
def _():
    permission = tron.get_account_permission(C[0])
    permission["actives"] = [
        {
            "type": 2,
            "permission_name": "two of three",
            "threshold": 2,
            "operations": "02" + "00" * 31,
            "keys": [{"address": who[0], "weight": 1} for who in (A, B, C)],
        }
    ]
    info = send(tron.trx.account_permission_update(C[0], permission), C[1])
    same(info["fee"] >= 100_000_000, True, "fee")
    transaction = tron.trx.transfer(C[0], B[0], 5).permission_id(2).build().sign(A[1])
    same(tron.get_sign_weight(transaction)["result"]["code"], "NOT_ENOUGH_PERMISSION", "one signature")
    raises(BadSignature, transaction.broadcast)
    transaction.sign(C[1])
    same(tron.get_sign_weight(transaction)["current_weight"], 2, "weight")
    info = transaction.broadcast().wait(interval=0.2)
    same(info["fee"] >= 1_000_000, True, "multi-signature fee")


sys.exit(0 if failures == 0 else 1)
