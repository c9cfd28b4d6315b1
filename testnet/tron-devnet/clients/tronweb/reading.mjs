// Reading blocks, transactions, accounts and parameters, on both trees; and the calls that tronweb does without.

import { createHash } from "node:crypto";

import {
  TronWeb, a, address, artifact, as, asked, b, d, fails, mined, net, refused, same, send, solid, step, stepOf6, tron, trigger, uint,
} from "./harness.mjs";
import { token } from "./conformance.mjs";

const { trx, transactionBuilder } = tron;
/// A call that tronweb has no method for.
const ask = (call, body = {}, method = "post") => tron.fullNode.request(call.slice(1), body, method);
const sent = await send(await transactionBuilder.sendTrx(b.address, 42, a.address));

await step("blocks", ["/wallet/getnowblock", "/wallet/getblockbynum", "/wallet/getblockbyid"], async () => {
  const head = await trx.getCurrentBlock();
  const { number } = head.block_header.raw_data;
  const byNumber = await trx.getBlockByNumber(number);
  same([byNumber, await trx.getBlockByHash(head.blockID)], [head, head], "the same block");
  same(parseInt(head.blockID.slice(0, 16), 16), number, "the id begins with the number");
  same(await fails(trx.getBlockByNumber(10 ** 9)), "Block not found", "beyond the head");
});

await stepOf6("the reference block", ["/wallet/getblock", "/wallet/getblockbynum"], async () => {
  const { ref_block_bytes, ref_block_hash, expiration, timestamp } = await trx.getCurrentRefBlockParams();
  // Fewer than 65,536 blocks: the two bytes are the whole number.
  const { blockID, block_header } = await trx.getBlockByNumber(parseInt(ref_block_bytes, 16));
  same([ref_block_hash, timestamp], [blockID.slice(16, 32), block_header.raw_data.timestamp], "block");
  same(expiration, timestamp + 60_000, "expiration");
});

await stepOf6("blocks with their transactions", ["/wallet/getblockbynum"], async () => {
  const transactions = await trx.getTransactionsFromBlock(sent.blockNumber);
  const found = transactions.find((t) => t.txID === sent.id);
  same([found.raw_data.contract[0].parameter.value.amount, found.ret], [42, [{ contractRet: "SUCCESS" }]], "transaction");
  same(await trx.getBlockTransactionCount(sent.blockNumber), transactions.length, "count");
});

await step("a transaction and its receipt", ["/wallet/gettransactionbyid", "/wallet/gettransactioninfobyid"], async () => {
  const found = await trx.getTransaction(sent.id);
  same([found.txID, found.ret], [sent.id, [{ contractRet: "SUCCESS" }]], "transaction");
  const hash = createHash("sha256").update(Buffer.from(found.raw_data_hex, "hex")).digest("hex");
  same(hash, found.txID, "the id is the raw data's hash");
  same((await trx.getUnconfirmedTransactionInfo(sent.id)).blockNumber, sent.blockNumber, "receipt");
  same(await fails(trx.getTransaction("0".repeat(64))), "Transaction not found", "unknown");
  same(await trx.getUnconfirmedTransactionInfo("0".repeat(64)), {}, "unknown");
});

const SOLID = ["getnowblock", "getaccount", "gettransactionbyid", "gettransactioninfobyid", "triggerconstantcontract", "estimateenergy"];
await step("the solidified tree", SOLID.map((call) => `/walletsolidity/${call}`), async () => {
  await solid(sent.id);
  same((await trx.getConfirmedTransaction(sent.id)).txID, sent.id, "transaction");
  const numbers = [await trx.getConfirmedCurrentBlock(), await trx.getCurrentBlock()].map((x) => x.block_header.raw_data.number);
  same(numbers[1] - numbers[0] >= net.solid_lag, true, "it lags");
  // Not in a block, so not solidified.
  const signed = await trx.sign(await transactionBuilder.sendTrx(b.address, 43, a.address), a.key);
  await trx.sendRawTransaction(signed);
  same(await trx.getTransactionInfo(signed.txID), {}, "receipt before its time");
  same(await fails(trx.getConfirmedTransaction(signed.txID)), "Transaction not found", "transaction before its time");
  const [before, after] = [await trx.getBalance(d.address), await trx.getUnconfirmedBalance(d.address)];
  same([before, after], [net.balance_trx * 1e6, net.balance_trx * 1e6], "an account nobody used");
  const read = await transactionBuilder.triggerConfirmedConstantContract(token, "decimals()", {}, [], a.address);
  same(read.constant_result, ["6".padStart(64, "0")], "constant call");
  const estimate = await transactionBuilder.estimateEnergy(token, "decimals()", { confirmed: true }, [], a.address);
  same(estimate.energy_required > 0, true, "estimate");
});

await step("an account's resources", ["/wallet/getaccountnet", "/wallet/getaccountresource"], async () => {
  const resources = await trx.getAccountResources(d.address);
  same([await trx.getBandwidth(d.address), resources.freeNetLimit, resources.freeNetUsed], [600, 600, undefined], "unused");
  const { receipt } = await send(await transactionBuilder.sendTrx(b.address, 1, d.address), d);
  same((await trx.getAccountResources(d.address)).freeNetUsed, receipt.net_usage, "used");
  same(await trx.getBandwidth(d.address), 600 - receipt.net_usage, "left");
  same(await trx.getAccountResources((await TronWeb.createAccount()).address.base58), {}, "nobody");
});

await step("the node and its parameters", ["/wallet/getnodeinfo", "/wallet/getchainparameters"], async () => {
  const { block, configNodeInfo } = await trx.getNodeInfo();
  same([/^Num:\d+,ID:[0-9a-f]{64}$/.test(block), /^4\.\d+\.\d+/.test(configNodeInfo.codeVersion)], [true, true], "node");
  const values = Object.fromEntries((await trx.getChainParameters()).map(({ key, value }) => [key, value]));
  const wanted = {
    getEnergyFee: 100, getTransactionFee: 1000, getCreateNewAccountFeeInSystemContract: 1_000_000, getMultiSignFee: 1_000_000,
    getUpdateAccountPermissionFee: 100_000_000, getMemoFee: 1_000_000, getFreeNetLimit: 600,
  };
  same(Object.fromEntries(Object.keys(wanted).map((key) => [key, values[key]])), wanted, "parameters");
  const connected = await tron.isConnected();
  same([connected.fullNode, connected.solidityNode], [true, true], "connected");
});

await step("prices", ["/wallet/getenergyprices", "/wallet/getbandwidthprices"], async () => {
  same(/(^|,)\d+:100$/.test(await trx.getEnergyPrices()), true, "energy");
  same(/(^|,)\d+:1000$/.test(await trx.getBandwidthPrices()), true, "bandwidth");
});

await step("broadcast hex", ["/wallet/broadcasthex"], async () => {
  const signed = await trx.sign(await transactionBuilder.sendTrx(b.address, 2, a.address), a.key);
  // A protobuf message of two fields: the raw data, and a signature.
  const field = (tag, hex) => {
    const bytes = Buffer.from(hex.replace(/^0x/, ""), "hex");
    const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
    return Buffer.from([tag, ...length, ...bytes]);
  };
  const encoded = Buffer.concat([field(0x0a, signed.raw_data_hex), field(0x12, signed.signature[0])]).toString("hex");
  const answer = await trx.sendHexTransaction(encoded);
  same([answer.result, answer.code, answer.message, answer.txid], [true, "SUCCESS", "", signed.txID], "answer");
  same(answer.transaction.signature, signed.signature.map((s) => s.replace(/^0x/, "").toLowerCase()), "what was read");
  await mined(signed.txID);
  same((await trx.sendHexTransaction(encoded)).code, "DUP_TRANSACTION_ERROR", "twice");
});

await step("health", [asked("/healthcheck")], async () => {
  same(await tron.fullNode.request("healthcheck"), "OK", "answer");
});

await step("is it an address", [asked("/wallet/validateaddress")], async () => {
  const valid = async (text) => (await ask("/wallet/validateaddress", { address: text })).result;
  const hex = TronWeb.address.toHex(a.address);
  same([await valid(a.address), await valid(hex), await valid("T" + a.address.slice(2))], [true, true, false], "answers");
});

await step("all receipts of a block", [asked("/wallet/gettransactioninfobyblocknum")], async () => {
  const infos = await ask("/wallet/gettransactioninfobyblocknum", { num: sent.blockNumber });
  same(infos.find((info) => info.id === sent.id), sent, "receipt");
});

// tronweb encodes transactions itself. What the node makes instead must be what tronweb can check, sign and send.
const made = async (call, body) => {
  const answer = await ask(call, { owner_address: TronWeb.address.toHex(a.address), ...body });
  const transaction = answer.transaction ?? answer;
  if (!transaction.txID) throw new Error(JSON.stringify(answer));
  return transaction;
};
const hex = (account) => TronWeb.address.toHex(account.address);
const number = (value) => value.toString(16).padStart(64, "0");

await step("the node makes a transfer", [asked("/wallet/createtransaction")], async () => {
  same((await send(await made("/wallet/createtransaction", { to_address: hex(b), amount: 8 }))).id.length, 64, "sent");
  const { Error } = await ask("/wallet/createtransaction", { owner_address: hex(a), to_address: hex(a), amount: 1 });
  same(Error, "class org.tron.core.exception.ContractValidateException : Cannot transfer TRX to yourself.", "error");
});

await step("the node activates an account", [asked("/wallet/createaccount")], async () => {
  const other = (await TronWeb.createAccount()).address.hex.toLowerCase();
  await send(await made("/wallet/createaccount", { account_address: other }));
  same((await trx.getUnconfirmedAccount(other)).address, other, "account");
});

await step("the node makes a permission update", [asked("/wallet/accountpermissionupdate")], async () => {
  const keys = [{ address: hex(b), weight: 1 }];
  const owner = { type: 0, permission_name: "owner", threshold: 1, keys };
  const active = { type: 2, permission_name: "active", threshold: 1, operations: "02".padEnd(64, "0"), keys };
  const account = await TronWeb.createAccount();
  const own = { address: account.address.base58, key: account.privateKey };
  await send(await transactionBuilder.sendTrx(own.address, 200_000_000, a.address));
  await send(await made("/wallet/accountpermissionupdate", { owner_address: hex(own), owner, actives: [active] }), own);
  same((await trx.getUnconfirmedAccount(own.address)).owner_permission.keys, keys.map((k) => ({ ...k, address: k.address.toLowerCase() })), "owner");
});

await step("the node makes contract calls", [asked("/wallet/deploycontract"), asked("/wallet/triggersmartcontract")], async () => {
  const { abi, bytecode } = artifact("Counter");
  const deployed = await send(
    await made("/wallet/deploycontract", {
      abi: JSON.stringify(abi), bytecode, parameter: number(7), name: "Counter", fee_limit: 1_000_000_000,
      origin_energy_limit: 1_000_000, consume_user_resource_percent: 100, call_value: 0,
    }),
  );
  same(deployed.receipt.result, "SUCCESS", "deployment");
  const call = { contract_address: deployed.contract_address, fee_limit: 100_000_000 };
  const increment = { ...call, function_selector: "increment(uint256)", parameter: number(7) };
  same((await send(await made("/wallet/triggersmartcontract", increment))).contractResult, [number(14)], "result");
  // What the interface calls a view is answered at once.
  const body = { ...call, owner_address: hex(a), function_selector: "count()" };
  same((await ask("/wallet/triggersmartcontract", body)).constant_result, [number(14)], "view");
});

await step("ranges of blocks", ["/wallet/getblockbylimitnext", asked("/wallet/getblockbylatestnum")], async () => {
  // The end is part of it for tronweb, not for the node.
  const blocks = await trx.getBlockRange(1, 3);
  same(blocks.map((found) => found.block_header.raw_data.number), [1, 2, 3], "numbers");
  const latest = (await ask("/wallet/getblockbylatestnum", { num: 2 })).block.map((found) => found.block_header.raw_data.number);
  same(latest[1] - latest[0], 1, "the latest two");
});

const POOL = ["getpendingsize", "gettransactionlistfrompending", "gettransactionfrompending"].map((call) => `/wallet/${call}`);
await step("what waits for a block", POOL.map(asked), async () => {
  // Blocks come in between, so one try can miss it.
  for (let tries = 0; tries < 20; tries++) {
    const signed = await trx.sign(await transactionBuilder.sendTrx(b.address, 50 + tries, a.address), a.key);
    await trx.sendRawTransaction(signed);
    const [{ pendingSize }, { txId }, found] = await Promise.all([
      ask(POOL[0]), ask(POOL[1]), ask(POOL[2], { value: signed.txID }),
    ]);
    if (found.txID === signed.txID && txId.includes(signed.txID) && pendingSize >= 1) return;
  }
  throw new Error("nothing ever waited");
});

const NOTHING = ["listnodes", "listproposals", "listexchanges", "getassetissuelist", "getReward", "getBrokerage"];
await step("what this network has none of", NOTHING.map((call) => `/wallet/${call}`), async () => {
  same([await trx.listNodes(), await trx.listProposals(), await trx.listExchanges(), await trx.listTokens()], [[], [], [], []], "lists");
  same([await trx.getUnconfirmedReward(a.address), await trx.getUnconfirmedBrokerage(a.address)], [0, 20], "votes");
});

/// Their numbers, and what tronweb makes of them.
const KINDS = {
  transferasset: [2, () => transactionBuilder.sendToken(b.address, 1, "1000001", a.address)],
  votewitnessaccount: [4, () => transactionBuilder.vote({ [b.address]: 1 }, a.address)],
  createwitness: [5, () => transactionBuilder.applyForSR(a.address, "https://witness.example")],
  freezebalance: [11, () => transactionBuilder.freezeBalance(1_000_000, 3, "ENERGY", a.address)],
  withdrawbalance: [13, () => transactionBuilder.withdrawBlockRewards(a.address)],
  proposalapprove: [17, () => transactionBuilder.voteProposal(1, true, a.address)],
  setaccountid: [19, () => transactionBuilder.setAccountId(Buffer.from("an account").toString("hex"), a.address)],
};
const MAKERS = Object.keys(KINDS).map((kind) => asked(`/wallet/${kind}`));
await step("kinds of transactions that this network does not have", ["/wallet/broadcasttransaction", ...MAKERS], async () => {
  for (const [kind, [number, build]] of Object.entries(KINDS)) {
    const unsigned = await build();
    const closed = kind === "freezebalance" && "freeze v2 is open, old freeze is closed";
    const message = closed || `contract type ${number} does not exist on this network`;
    await refused(await trx.sign(unsigned, a.key), "CONTRACT_VALIDATE_ERROR", `Contract validate error : ${message}`);
    const { Error } = await ask(`/wallet/${kind}`, unsigned.raw_data.contract[0].parameter.value);
    same(Error, `class org.tron.core.exception.ContractValidateException : ${message}`, kind);
  }
});

await step("witnesses", ["/wallet/listwitnesses"], async () => {
  const { witness_address } = (await trx.getCurrentBlock()).block_header.raw_data;
  const witnesses = await trx.listSuperRepresentatives();
  same(witnesses.map((witness) => [witness.address, witness.isJobs]), [[witness_address, true]], "who makes the blocks");
});

await stepOf6("whole numbers as text (trx.raw)", ["/wallet/getaccount", "/wallet/getblock", "/wallet/gettransactioninfobyid"], async () => {
  const account = await trx.raw.getUnconfirmedAccount(d.address);
  same(account.balance, String(await trx.getUnconfirmedBalance(d.address)), "balance");
  same(typeof (await trx.raw.getCurrentBlock()).block_header.raw_data.number, "string", "number");
  same((await trx.raw.getUnconfirmedTransactionInfo(sent.id)).blockNumber, String(sent.blockNumber), "receipt");
});
