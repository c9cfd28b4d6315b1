// What a network must do for its users, and what it must refuse. The tronpy tests have steps of the same names.

import { TronWeb, a, address, artifact, as, b, c, fails, mined, refused, same, send, solid, step, trigger, tron, uint } from "./harness.mjs";

const SENT = ["/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid"];
/// tronweb encodes transfers and deployments itself; it lets the node make calls, and checks what comes back.
const SEND = ["/wallet/getblock", ...SENT];
const CALL = ["/wallet/triggersmartcontract", ...SENT];
const fresh = await TronWeb.createAccount();
const FRESH = { address: fresh.address.base58, key: fresh.privateKey };
/// A token of ours, deployed below.
export let token;

const balance = (account) => tron.trx.getUnconfirmedBalance(account.address);
const transfer = (to, amount, from = a, options = {}) =>
  tron.transactionBuilder.sendTrx(to.address, amount, from.address, options);
const sign = (unsigned, account = a) => as(account).trx.sign(unsigned, account.key);

await step("create and fund an account by a transfer", [...SEND, "/wallet/getaccount"], async () => {
  const before = await balance(a);
  const info = await send(await transfer(FRESH, 5_000_000));
  // 1 TRX for the account, 0.1 TRX in place of bandwidth.
  same([info.fee, info.receipt], [1_100_000, { net_fee: 100_000 }], "fee");
  same([await balance(FRESH), await balance(a)], [5_000_000, before - 6_100_000], "balances");
  return "1.1 TRX";
});

await step("create an account without funding it", [...SEND, "/wallet/getaccount"], async () => {
  const other = await TronWeb.createAccount();
  const info = await send(await tron.transactionBuilder.createAccount(other.address.base58, a.address));
  const { address: made, balance, create_time } = await tron.trx.getUnconfirmedAccount(other.address.base58);
  same([made, balance, create_time > 0], [other.address.hex.toLowerCase(), undefined, true], "account");
  same(info.fee, 1_100_000, "fee");
  return "1.1 TRX";
});

await step("transfer TRX", [...SEND, "/wallet/getaccount"], async () => {
  const [from, to] = [await balance(c), await balance(FRESH)];
  const info = await send(await transfer(FRESH, 250_000, c), c);
  same([info.fee, info.receipt], [undefined, { net_usage: info.receipt.net_usage }], "free bandwidth pays");
  same([await balance(c), await balance(FRESH)], [from - 250_000, to + 250_000], "balances");
});

await step("deploy a token", [...SEND, "/wallet/getcontract"], async () => {
  const { abi, bytecode, deployedBytecode } = artifact("TestUsdt");
  const unsigned = await tron.transactionBuilder.createSmartContract(
    {
      abi, bytecode, name: "Mine", feeLimit: 1_000_000_000, callValue: 0, userFeePercentage: 100,
      originEnergyLimit: 1_000_000, parameters: [1_000_000_000],
    },
    a.address,
  );
  const info = await send(unsigned);
  token = TronWeb.address.fromHex(unsigned.contract_address);
  same([info.receipt.result, info.contract_address], ["SUCCESS", unsigned.contract_address], "deployment");
  same(info.contractResult, [deployedBytecode], "code");
  same(info.receipt.energy_fee, info.receipt.energy_usage_total * 100, "energy is burnt at 100 sun");
  const found = await tron.trx.getContract(token);
  same([found.name, found.bytecode, found.abi.entrys.length], ["Mine", bytecode + "3b9aca00".padStart(64, "0"), abi.length], "contract");
  return `${info.receipt.energy_usage_total} energy`;
});

await step("transfer a token, read its balances", [...CALL, "/wallet/triggerconstantcontract"], async () => {
  const contract = await tron.contract().at(token);
  same((await contract.balanceOf(a.address).call()).toString(), "1000000000", "before");
  const info = await mined(await contract.transfer(b.address, 700).send({ feeLimit: 100_000_000 }));
  same([info.receipt.result, info.contractResult], ["SUCCESS", ["0".repeat(64)]], "answers false though it succeeded");
  const balances = [await contract.balanceOf(a.address).call(), await contract.balanceOf(b.address).call()];
  same(balances.map(String), ["999999300", "700"], "balances");
  return `${info.receipt.energy_usage_total} energy`;
});

await step("read a receipt and its events", [...CALL, "/walletsolidity/gettransactioninfobyid"], async () => {
  const info = await send(await trigger(a, token, "transfer(address,uint256)", [address(b.address), uint(5)]));
  const word = (text) => text.replace(/^(0x|41)/, "").toLowerCase().padStart(64, "0");
  const log = {
    address: TronWeb.address.toHex(token).slice(2).toLowerCase(),
    topics: [
      word(TronWeb.sha3("Transfer(address,address,uint256)")),
      word(TronWeb.address.toHex(a.address)),
      word(TronWeb.address.toHex(b.address)),
    ],
    data: word("5"),
  };
  same(info.log, [log], "log");
  same([info.receipt.result, info.contract_address], ["SUCCESS", TronWeb.address.toHex(token).toLowerCase()], "receipt");
  same(info.fee, (info.receipt.energy_fee ?? 0) + (info.receipt.net_fee ?? 0), "fee");
  same(await solid(info.id), info, "the solidified receipt");
});

await step("estimate energy", ["/wallet/estimateenergy", ...CALL], async () => {
  const what = ["transfer(address,uint256)", {}, [address(FRESH.address), uint(1)], a.address];
  const estimate = await tron.transactionBuilder.estimateEnergy(token, ...what);
  same(estimate.result, { result: true }, "result");
  const { receipt } = await send(await trigger(a, token, what[0], what[2]));
  if (receipt.energy_usage_total > estimate.energy_required) throw new Error(`needs ${receipt.energy_usage_total}`);
  return `${estimate.energy_required} for ${receipt.energy_usage_total}`;
});

await step("a failing transfer (out of energy)", CALL, async () => {
  const info = await send(
    await trigger(a, token, "transfer(address,uint256)", [address(c.address), uint(1)], { feeLimit: 100_000 }));
  same([info.result, info.receipt.result], ["FAILED", "OUT_OF_ENERGY"], "result");
  same([info.receipt.energy_fee, info.receipt.energy_usage_total, info.log], [100_000, 1_000, undefined], "burns the limit");
  return "`OUT_OF_ENERGY`";
});

await step("a reverting transfer", CALL, async () => {
  const info = await send(await trigger(c, token, "transfer(address,uint256)", [address(a.address), uint(10 ** 9)]), c);
  same([info.result, info.receipt.result, info.log], ["FAILED", "REVERT", undefined], "result");
  same(TronWeb.toUtf8(info.resMessage), "REVERT opcode executed", "message");
  return "`REVERT`";
});

await step("a reverting call without a transaction", ["/wallet/triggerconstantcontract"], async () => {
  const message = await fails(tron.transactionBuilder.triggerConstantContract(token, "unpause()", {}, [], c.address));
  same(message, "REVERT opcode executed", "message");
  return "`REVERT opcode executed`";
});

await step("broadcast twice", SEND, async () => {
  const signed = await sign(await transfer(b, 1));
  await send(signed);
  return refused(signed, "DUP_TRANSACTION_ERROR", "Dup transaction.");
});

/// With another reference block or other times.
const altered = async (amount, header) => {
  const { raw_data } = await transfer(b, amount);
  const { ref_block_bytes, ref_block_hash, expiration, timestamp } = raw_data;
  const blockHeader = { ref_block_bytes, ref_block_hash, expiration, timestamp, ...header };
  return sign(await transfer(b, amount, a, { blockHeader }));
};

await step("expired", ["/wallet/broadcasttransaction"], async () => {
  const head = (await tron.trx.getCurrentBlock()).block_header.raw_data.timestamp;
  const signed = await altered(3, { expiration: head - 1, timestamp: head - 2 });
  return refused(signed, "TRANSACTION_EXPIRATION_ERROR", "Transaction expired");
});

await step("wrong reference block", ["/wallet/broadcasttransaction"], async () =>
  refused(await altered(4, { ref_block_hash: "0123456789abcdef" }), "TAPOS_ERROR", "Tapos check error."));

await step("wrong signature", ["/wallet/broadcasttransaction"], async () => {
  const signed = await tron.trx.multiSign(await transfer(b, 5), b.key);
  const message = `Validate signature error: ${signed.signature[0].replace(/^0x/, "").toLowerCase()} is signed by ${b.address} but it is not contained of permission.`;
  return refused(signed, "SIGERROR", message);
});

await step("insufficient balance", ["/wallet/broadcasttransaction"], async () => {
  const more = (await balance(FRESH)) + 1;
  const message = "Contract validate error : Validate TransferContract error, balance is not sufficient.";
  return refused(await sign(await transfer(b, more, FRESH), FRESH), "CONTRACT_VALIDATE_ERROR", message);
});

await step("update permissions", [...SEND, "/wallet/getaccount"], async () => {
  const owner = { type: 0, permission_name: "owner", threshold: 1, keys: [{ address: TronWeb.address.toHex(c.address), weight: 1 }] };
  const active = {
    type: 2, permission_name: "two of three", threshold: 2,
    // Transfers only.
    operations: "02".padEnd(64, "0"),
    keys: [a, b, c].map((k) => ({ address: TronWeb.address.toHex(k.address), weight: 1 })),
  };
  const info = await send(await tron.transactionBuilder.updateAccountPermissions(c.address, owner, null, [active]), c);
  same(info.fee - (info.receipt.net_fee ?? 0), 100_000_000, "fee");
  const { owner_permission, active_permission } = await tron.trx.getUnconfirmedAccount(c.address);
  same([owner_permission.threshold, active_permission.length], [1, 1], "permissions");
  const { id, threshold, operations, keys } = active_permission[0];
  same([id, threshold, operations, keys.length], [2, 2, active.operations, 3], "active permission");
  return "100 TRX";
});

await step("2-of-3 multi-sign", [...SEND, "/wallet/getsignweight", "/wallet/getapprovedlist"], async () => {
  const unsigned = await transfer(b, 6, c, { permissionId: 2 });
  const once = await tron.trx.multiSign(unsigned, a.key, 2);
  const first = await tron.trx.getSignWeight(once, 2);
  same([first.result.code, first.current_weight], ["NOT_ENOUGH_PERMISSION", 1], "one signature");
  await refused(once, "SIGERROR", "Validate signature error: sig error");
  const twice = await tron.trx.multiSign(once, b.key, 2);
  const weight = await tron.trx.getSignWeight(twice, 2);
  same([weight.result.code ?? null, weight.current_weight, weight.permission.threshold], [null, 2, 2], "two signatures");
  const { approved_list } = await tron.trx.getApprovedList(twice);
  same(approved_list, [a, b].map((k) => TronWeb.address.toHex(k.address).toLowerCase()), "approved");
  const info = await send(twice);
  same(info.fee - (info.receipt.net_fee ?? 0), 1_000_000, "multi-signature fee");
  return "1 TRX";
});

await step("a permission that does not allow the type", ["/wallet/broadcasttransaction"], async () => {
  const unsigned = await trigger(c, token, "transfer(address,uint256)", [address(a.address), uint(1)], { permissionId: 2 });
  let signed = await tron.trx.multiSign(unsigned, a.key, 2);
  signed = await tron.trx.multiSign(signed, b.key, 2);
  return refused(signed, "SIGERROR", "Validate signature error: Permission denied");
});
