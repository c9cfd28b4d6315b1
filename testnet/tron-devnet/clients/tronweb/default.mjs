// The network without any options: blocks every 3 seconds.

import { a, b, broadcast, fails, fixtures, net, same, step, tron } from "./harness.mjs";

const LIMIT = { feeLimit: 1_000_000_000 };

const POLLED = ["/wallet/getcontract", "/wallet/getnodeinfo", "/walletsolidity/gettransactioninfobyid"];
await step("wait for solidified receipts, with 3 s blocks", POLLED, async () => {
  const deploy = async ({ abi, bytecode }, callValue = 0) => {
    const options = { abi, bytecode, callValue, ...LIMIT, originEnergyLimit: 1_000_000 };
    const unsigned = await tron.transactionBuilder.createSmartContract(options, a.address);
    await broadcast(unsigned);
    return tron.contract().at(unsigned.contract_address);
  };
  const [coin, till] = [await deploy(fixtures.Coin), await deploy(fixtures.Till, 100)];
  const options = { ...LIMIT, shouldPollResponse: true };
  const [moved, [id, paid], error] = await Promise.all([
    coin.transfer(b.address, 400).send(options),
    till.pay("polled").send({ ...options, callValue: 11, keepTxID: true }),
    fails(till.pay("too little").send({ ...options, callValue: 9 })),
  ]);
  same([moved, id.length, Number(paid), error], [true, 64, 111, "REVERT opcode executed"], "results");
  const { block, solidityBlock } = await tron.trx.getNodeInfo();
  const [head, solid] = [block, solidityBlock].map((text) => Number(/^Num:(\d+),/.exec(text)[1]));
  same([net.block_time_ms, head - solid], [3000, net.solid_lag], "block time and lag");
});
