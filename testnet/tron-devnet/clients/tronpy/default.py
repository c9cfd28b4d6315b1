"""The network without any options: blocks every 3 seconds. The tronweb tests have a step of the same name."""

import re

from harness import A, B, FIXTURES, NET, deploy, raises, same, step, tron
from tronpy.exceptions import TvmError

POLLED = ("/wallet/getcontract", "/wallet/getnodeinfo", "/walletsolidity/gettransactioninfobyid")


@step("wait for solidified receipts, with 3 s blocks", *POLLED)
def _():
    _, coin = deploy("Coin")

    def transfer(source, amount):
        return coin.functions.transfer(B.address, amount).with_owner(source.address).build().sign(source.key).broadcast()

    moved, failed = transfer(A, 400), transfer(B, 401)
    same(moved.result(solid=True), True, "result")
    same(tron.get_transaction_info(moved.txid), moved.wait(solid=True), "receipt")
    raises(TvmError, "REVERT opcode executed", failed.result, solid=True)
    node = tron.get_node_info()
    head, solid = (int(re.match(r"Num:(\d+),", node[key])[1]) for key in ("block", "solidityBlock"))
    same((NET["block_time_ms"], head - solid), (3000, NET["solid_lag"]), "block time and lag")
