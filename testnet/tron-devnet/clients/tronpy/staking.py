"""Staking, delegating what it yields, taking it back. The tronweb tests have steps of the same names."""

from harness import A, D, E, FIXTURES, balance, raises, same, send, step, tron
from tronpy import Contract
from tronpy.exceptions import ValidationError

TRX = 1_000_000
SEND = ("/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid")


@step("stake TRX", *SEND, "/wallet/getaccountresource", "/wallet/getaccountnet", "/wallet/getaccount")
def _():
    before = balance(D)
    infos = [send(tron.trx.freeze_balance(D.address, 50_000 * TRX, resource), D) for resource in ("ENERGY", "BANDWIDTH")]
    fees = sum(info.get("fee", 0) for info in infos)
    same(balance(D), before - 100_000 * TRX - fees, "balance")
    same(tron.get_energy(D.address) > 28_200, True, "energy")
    same(tron.get_bandwidth(D.address) > 1_000, True, "bandwidth")
    frozen = tron.get_account(D.address)["frozenV2"]
    wanted = [{"amount": 50_000 * TRX}, {"type": "ENERGY", "amount": 50_000 * TRX}, {"type": "TRON_POWER"}]
    same(frozen, wanted, "stakes")


@step("staked energy and bandwidth pay for a call", *SEND)
def _():
    made = FIXTURES["Coin"]
    contract = Contract(name="Coin", bytecode=made["bytecode"], abi=made["abi"])
    deployed = send(tron.trx.deploy_contract(A.address, contract).fee_limit(5_000 * TRX), A)
    coin = tron.get_contract(deployed["contract_address"])
    info = send(coin.functions.approve(A.address, 1).with_owner(D.address).fee_limit(1_000 * TRX), D)
    receipt = info["receipt"]
    same((receipt["result"], receipt["energy_usage"]), ("SUCCESS", receipt["energy_usage_total"]), "receipt")
    same((receipt.get("energy_fee"), receipt.get("net_fee"), info.get("fee")), (None, None, None), "fees")
    return "no fee"


DELEGATIONS = ("getcandelegatedmaxsize", "getdelegatedresourcev2", "getdelegatedresourceaccountindexv2")


@step("delegate energy and take it back", *SEND, *(f"/wallet/{call}" for call in DELEGATIONS))
def _():
    most = tron.get_can_delegated_max_size(D.address, "ENERGY")["max_size"]
    same(30_000 * TRX < most <= 50_000 * TRX, True, "what may be lent")
    send(tron.trx.delegate_resource(D.address, E.address, 20_000 * TRX, "ENERGY"), D)
    loans = tron.get_delegated_resource_v2(D.address, E.address)["delegatedResource"]
    same(loans, [{"from": D.address, "to": E.address, "frozen_balance_for_energy": 20_000 * TRX}], "loan")
    index = tron.get_delegated_resource_account_index_v2(E.address)
    same(index, {"account": E.address, "fromAccounts": [D.address]}, "index")
    same(tron.get_energy(E.address) > 0, True, "energy")
    send(tron.trx.undelegate_resource(D.address, E.address, 20_000 * TRX, "ENERGY"), D)
    same(tron.get_delegated_resource_v2(D.address, E.address), {}, "no loan")


@step("unstake, change one's mind", *SEND, "/wallet/getaccount")
def _():
    send(tron.trx.unfreeze_balance(D.address, "ENERGY", unfreeze_balance=1_000 * TRX), D)
    (unstaking,) = tron.get_account(D.address)["unfrozenV2"]
    same((unstaking["type"], unstaking["unfreeze_amount"]), ("ENERGY", 1_000 * TRX), "unstaking")
    days = round((unstaking["unfreeze_expire_time"] - tron.get_latest_block()["block_header"]["raw_data"]["timestamp"]) / 86_400_000)
    message = "Contract validate error : no unFreeze balance to withdraw "
    early = tron.trx.withdraw_stake_balance(D.address).build().sign(D.key)
    raises(ValidationError, message, early.broadcast)
    return f"{days} days"
