// A block for each transaction, without the test USDT: the network begins with an empty block.

import { a, b, broadcast, net, same, step, tron } from "./harness.mjs";

const { trx } = tron;
const CALLS = ["/wallet/getblock", "/wallet/getblockbynum", "/wallet/gettransactioninfobyid", "/walletsolidity/gettransactioninfobyid"];

await step("the first transaction of a network, on demand", CALLS, async () => {
  same([net.usdt, await trx.getBlockTransactionCount(1)], [null, 0], "nothing was sent yet");
  const { number } = (await trx.getCurrentBlock()).block_header.raw_data;
  const before = await trx.getBalance(b.address);
  const id = await broadcast(await tron.transactionBuilder.sendTrx(b.address, 1 + number, a.address));
  const info = await trx.getUnconfirmedTransactionInfo(id);
  same([info.id, info.blockNumber, await trx.getTransactionInfo(id)], [id, number + 1, info], "receipt");
  same(await trx.getBalance(b.address), before + 1 + number, "solidified balance");
});
