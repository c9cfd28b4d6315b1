// What a wallet sees of transactions that wait for a block. On this network none comes by itself: a step makes one when it has
// seen enough. The tronpy tests have steps of the same names.

import {
  TronWeb, a, address, as, asked, b, broadcast, c, control, fails, fixtures, mined, net, same, step, tron, uint,
} from "./harness.mjs";

const TRX = 1_000_000;
const LIMIT = { feeLimit: 1_000_000_000 };
const { transactionBuilder: build, trx } = tron;
const SENT = ["/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid"];
const SPENT = ["/wallet/getaccount", "/wallet/gettransactionbyid", "/walletsolidity/getaccount", "/walletsolidity/gettransactioninfobyid"];

const fresh = async () => {
  const { address: { base58 }, privateKey } = await TronWeb.createAccount();
  return { address: base58, key: privateKey };
};
const balance = (account) => trx.getUnconfirmedBalance(account.address);
const transfer = async (from, to, amount) => broadcast(await build.sendTrx(to.address, amount, from.address), from);
const results = async (ids) => (await Promise.all(ids.map((id) => trx.getTransaction(id)))).map(({ ret }) => ret[0].contractRet);
const number = async () => (await trx.getCurrentBlock()).block_header.raw_data.number;

/// Makes a block of these transactions; their receipts, after it was seen that there were none.
async function mine(ids) {
  same(await Promise.all(ids.map((id) => trx.getUnconfirmedTransactionInfo(id))), ids.map(() => ({})), "receipts before the block");
  const before = await number();
  await control("mine");
  const infos = await Promise.all(ids.map(mined));
  same(infos.map((info) => info.blockNumber), ids.map(() => before + 1), "block");
  return infos;
}

/// Makes the blocks that the newest one is solidified by. `read` asks the solidified tree: it must not know before the last one.
async function solidify(read, before, after) {
  for (let lag = net.solid_lag; lag > 0; lag--) {
    same(await read(), before, "not solidified yet");
    await control("mine");
  }
  same(await read(), after, "solidified");
}

await step("spend what just arrived", [...SENT, ...SPENT, asked("/wallet/createtransaction")], async () => {
  const [one, two] = [await fresh(), await fresh()];
  const ids = [await transfer(a, one, 5 * TRX), await transfer(one, two, 2 * TRX)];
  // The second account costs the first one 1.1 TRX.
  same([await balance(one), await balance(two)], [1_900_000, 2_000_000], "balances");
  same(await results(ids), ["SUCCESS", "SUCCESS"], "results");
  const make = (amount) => {
    const [owner_address, to_address] = [one, two].map((account) => TronWeb.address.toHex(account.address));
    return tron.fullNode.request("wallet/createtransaction", { owner_address, to_address, amount }, "post");
  };
  const error = "Validate TransferContract error, balance is not sufficient.";
  same((await make(1_900_001)).Error, `class org.tron.core.exception.ContractValidateException : ${error}`, "too much");
  ids.push(await broadcast(await make(1_900_000), one));
  same([await balance(one), await balance(two)], [0, 3_900_000], "balances");
  same((await mine(ids)).map(({ fee }) => fee), [1_100_000, 1_100_000, undefined], "fees");
  same([await balance(one), await balance(two)], [0, 3_900_000], "balances in the block");
  const read = async () => [await trx.getBalance(two.address), (await trx.getTransactionInfo(ids[0])).id];
  await solidify(read, [0, undefined], [3_900_000, ids[0]]);
});

/// Deploys a coin; the contract as tronweb reads it from the node, the address, and the deployment's id.
async function deployCoin() {
  const { abi, bytecode } = fixtures.Coin;
  const unsigned = await build.createSmartContract({ abi, bytecode, name: "Coin", ...LIMIT, originEnergyLimit: 1_000_000 }, a.address);
  const id = await broadcast(unsigned);
  return { coin: await tron.contract().at(unsigned.contract_address), at: unsigned.contract_address, id };
}
const balances = (coin, accounts) =>
  Promise.all(accounts.map(async (account) => Number(await coin.balanceOf(account.address).call())));

const CALL = ["/wallet/getcontract", "/wallet/triggerconstantcontract", "/wallet/triggersmartcontract", ...SENT];
await step("call a contract right after its deployment", [...CALL, "/walletsolidity/triggerconstantcontract"], async () => {
  const { coin, at, id } = await deployCoin();
  same(await balances(coin, [a, b]), [1000, 0], "minted");
  const ids = [id, await coin.transfer(b.address, 400).send(LIMIT)];
  same([await balances(coin, [a, b]), await results(ids)], [[600, 400], ["SUCCESS", "SUCCESS"]], "balances and results");
  same((await mine(ids)).map(({ receipt }) => receipt.result), ["SUCCESS", "SUCCESS"], "receipts");
  const solidBalance = async () => {
    const call = build.triggerConfirmedConstantContract(at, "balanceOf(address)", {}, [address(b.address)], a.address);
    return call.then(({ constant_result: [word] }) => parseInt(word, 16), (error) => error.message ?? error);
  };
  await solidify(solidBalance, "Smart contract is not exist.", 400);
});

await step("approve, then transferFrom at once", CALL, async () => {
  const { coin, at, id } = await deployCoin();
  const ids = [id, await coin.approve(b.address, 50).send(LIMIT)];
  same(Number(await coin.allowance(a.address, b.address).call()), 50, "allowance");
  const ofB = await as(b).contract().at(at);
  ids.push(await ofB.transferFrom(a.address, c.address, 30).send(LIMIT));
  same([await balances(coin, [a, b, c]), Number(await coin.allowance(a.address, b.address).call())], [[970, 0, 30], 20], "spent");
  const more = [at, "transferFrom(address,address,uint256)", {}, [address(a.address), address(c.address), uint(21)], b.address];
  same(await fails(build.triggerConstantContract(...more)), "REVERT opcode executed", "beyond the allowance");
  ids.push(await ofB.transferFrom(a.address, c.address, 21).send(LIMIT));
  same([await balances(coin, [a, c]), await results(ids)], [[970, 30], ["SUCCESS", "SUCCESS", "SUCCESS", "REVERT"]], "balances and results");
  same((await mine(ids)).map(({ receipt }) => receipt.result), ["SUCCESS", "SUCCESS", "SUCCESS", "REVERT"], "receipts");
  same(await balances(coin, [a, b, c]), [970, 0, 30], "balances in the block");
});

await step("seed 20 accounts without waiting", [...CALL, "/wallet/getaccount"], async () => {
  const { coin, id } = await deployCoin();
  const accounts = await Promise.all(Array.from({ length: 20 }, fresh));
  const [before, ids] = [await balance(a), [id]];
  for (const [i, account] of accounts.entries()) {
    ids.push(await transfer(a, account, 10 * TRX + i), await coin.transfer(account.address, 1 + i).send(LIMIT));
  }
  const [trxs, coins] = [accounts.map((_, i) => 10 * TRX + i), accounts.map((_, i) => 1 + i)];
  const read = async () => [await Promise.all(accounts.map(balance)), await balances(coin, accounts), await balances(coin, [a])];
  same(await read(), [trxs, coins, [790]], "balances");
  const after = await balance(a);
  const infos = await mine(ids);
  same(await read(), [trxs, coins, [790]], "balances in the block");
  const sum = (numbers) => numbers.reduce((one, other) => one + other, 0);
  same([before - after, await balance(a)], [sum(trxs) + sum(infos.slice(1).map(({ fee }) => fee)), after], "what it cost");
  return "20 accounts";
});
