// tronweb, unchanged, against a running devnet. Reads the network's JSON line from DEVNET, prints one line per call:
//   ok|FAIL <TAB> call <TAB> what was seen
// Exit code 1 if anything failed. NODE_PATH or the working directory must lead to tronweb.

import { createRequire } from "node:module";
import path from "node:path";
import fs from "node:fs";

const require = createRequire(path.join(process.cwd(), "x.js"));
const { TronWeb } = require("tronweb");
const net = JSON.parse(process.env.DEVNET);
const contracts = path.join(path.dirname(new URL(import.meta.url).pathname), "..", "contracts");
const artifact = (name) => JSON.parse(fs.readFileSync(path.join(contracts, `${name}.json`), "utf8"));

const as = (account) => new TronWeb({ fullHost: net.url, privateKey: account.key });
const [a, b, c] = net.accounts;
const tron = as(a);
let failures = 0;

function same(seen, wanted, what) {
  const [s, w] = [JSON.stringify(seen), JSON.stringify(wanted)];
  if (s !== w) throw new Error(`${what}: ${s} instead of ${w}`);
}

async function step(call, run) {
  try {
    console.log(`ok\t${call}\t${(await run()) ?? ""}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL\t${call}\t${String(error?.stack ?? error?.message ?? JSON.stringify(error)).replaceAll("\n", " | ")}`);
  }
}

/// Waits for a transaction to be in a block.
async function mined(id, read = (i) => tron.trx.getUnconfirmedTransactionInfo(i)) {
  for (let i = 0; i < 200; i++) {
    const info = await read(id);
    if (info?.id) return info;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${id} is not in a block`);
}

async function send(signed) {
  const answer = await tron.trx.sendRawTransaction(signed);
  if (!answer.result) throw new Error(JSON.stringify(answer));
  return mined(signed.txID);
}

async function refused(signed, code) {
  const answer = await tron.trx.sendRawTransaction(signed);
  same([answer.result ?? false, answer.code], [false, code], "answer");
  return code;
}

let token;
const fresh = await TronWeb.createAccount();

await step("isConnected", async () => same((await tron.isConnected()).fullNode, true, "fullNode"));
await step("getCurrentBlock, getBlockByNumber, getBlockByHash", async () => {
  const head = await tron.trx.getCurrentBlock();
  const byNumber = await tron.trx.getBlockByNumber(head.block_header.raw_data.number);
  const byHash = await tron.trx.getBlockByHash(head.blockID);
  same([byNumber.blockID, byHash.blockID], [head.blockID, head.blockID], "ids");
  return `number ${head.block_header.raw_data.number}`;
});
await step("getNodeInfo", async () => (await tron.trx.getNodeInfo()).configNodeInfo.codeVersion);
await step("getChainParameters", async () => {
  const fee = (await tron.trx.getChainParameters()).find((p) => p.key === "getEnergyFee");
  same(fee.value, 100, "energy fee");
});
await step("getBalance, getAccount", async () => {
  same((await tron.trx.getAccount(b.address)).balance, await tron.trx.getUnconfirmedBalance(b.address), "balance");
});
await step("sendTrx creates and funds an account", async () => {
  const unsigned = await tron.transactionBuilder.sendTrx(fresh.address.base58, 5_000_000, a.address);
  const info = await send(await tron.trx.sign(unsigned, a.key));
  same(info.fee, 1_100_000, "fee");
  same(await tron.trx.getUnconfirmedBalance(fresh.address.base58), 5_000_000, "balance");
});
await step("createAccount", async () => {
  const other = await TronWeb.createAccount();
  const unsigned = await tron.transactionBuilder.createAccount(other.address.base58, a.address);
  await send(await tron.trx.sign(unsigned, a.key));
  const account = await tron.trx.getUnconfirmedAccount(other.address.base58);
  same(account.address, other.address.hex.toLowerCase(), "address");
});
await step("getBandwidth, getAccountResources", async () => {
  const resources = await tron.trx.getAccountResources(c.address);
  same([await tron.trx.getBandwidth(c.address), resources.freeNetLimit], [600, 600], "free bytes");
});
await step("deploy a token (createSmartContract)", async () => {
  const { abi, bytecode } = artifact("TestUsdt");
  const unsigned = await tron.transactionBuilder.createSmartContract(
    { abi, bytecode, name: "Mine", feeLimit: 1_000_000_000, callValue: 0, userFeePercentage: 100, originEnergyLimit: 1_000_000, parameters: [1_000_000_000] },
    a.address,
  );
  const info = await send(await tron.trx.sign(unsigned, a.key));
  same([info.receipt.result, info.contract_address], ["SUCCESS", unsigned.contract_address], "deployment");
  token = unsigned.contract_address;
  return `${info.receipt.energy_usage_total} energy`;
});
await step("getContract, contract().at()", async () => {
  const found = await tron.trx.getContract(token);
  same(found.name, "Mine", "name");
  const contract = await tron.contract().at(token);
  same((await contract.balanceOf(a.address).call()).toString(), "1000000000", "balanceOf");
  same(await contract.symbol().call(), "USDT", "symbol");
});
await step("token transfer through contract().send()", async () => {
  const contract = await tron.contract().at(token);
  const id = await contract.transfer(b.address, 700).send({ feeLimit: 100_000_000 });
  const info = await mined(id);
  same([info.receipt.result, info.log.length], ["SUCCESS", 1], "receipt");
  same((await contract.balanceOf(b.address).call()).toString(), "700", "balance");
  return `${info.receipt.energy_usage_total} energy`;
});
await step("triggerConstantContract", async () => {
  const answer = await tron.transactionBuilder.triggerConstantContract(
    token, "balanceOf(address)", {}, [{ type: "address", value: b.address }], a.address);
  same([answer.result.result, BigInt("0x" + answer.constant_result[0]).toString()], [true, "700"], "result");
});
await step("estimateEnergy", async () => {
  const answer = await tron.transactionBuilder.estimateEnergy(
    token, "transfer(address,uint256)", {}, [{ type: "address", value: b.address }, { type: "uint256", value: 1 }], a.address);
  same(answer.result.result, true, "result");
  const id = await (await tron.contract().at(token)).transfer(b.address, 1).send({ feeLimit: 100_000_000 });
  const { receipt } = await mined(id);
  if (answer.energy_required < receipt.energy_usage_total) throw new Error(`${answer.energy_required} is too little`);
  return `${answer.energy_required} for ${receipt.energy_usage_total}`;
});
await step("a reverting transfer", async () => {
  const { transaction } = await tron.transactionBuilder.triggerSmartContract(
    token, "transfer(address,uint256)", { feeLimit: 100_000_000 },
    [{ type: "address", value: a.address }, { type: "uint256", value: 10 ** 9 }], c.address);
  const info = await send(await tron.trx.sign(transaction, c.key));
  same([info.result, info.receipt.result], ["FAILED", "REVERT"], "receipt");
  return Buffer.from(info.resMessage, "hex").toString();
});
await step("a failing transfer (out of energy)", async () => {
  const { transaction } = await tron.transactionBuilder.triggerSmartContract(
    token, "transfer(address,uint256)", { feeLimit: 100_000 },
    [{ type: "address", value: c.address }, { type: "uint256", value: 1 }], a.address);
  const info = await send(await tron.trx.sign(transaction, a.key));
  same([info.result, info.receipt.result, info.receipt.energy_fee], ["FAILED", "OUT_OF_ENERGY", 100_000], "receipt");
});
await step("broadcast twice", async () => {
  const signed = await tron.trx.sign(await tron.transactionBuilder.sendTrx(b.address, 1, a.address), a.key);
  await send(signed);
  return refused(signed, "DUP_TRANSACTION_ERROR");
});
await step("sendHexTransaction", async () => {
  const signed = await tron.trx.sign(await tron.transactionBuilder.sendTrx(b.address, 2, a.address), a.key);
  const bytes = (n) => (n < 128 ? [n] : [(n & 127) | 128, n >> 7]);
  const raw = Buffer.from(signed.raw_data_hex, "hex");
  const signature = Buffer.from(signed.signature[0].replace(/^0x/, ""), "hex");
  const encoded = Buffer.from([0x0a, ...bytes(raw.length), ...raw, 0x12, ...bytes(signature.length), ...signature]);
  const answer = await tron.trx.sendHexTransaction(encoded.toString("hex"));
  same([answer.result, answer.code], [true, "SUCCESS"], "answer");
  await mined(signed.txID);
});
await step("expired", async () => {
  const head = (await tron.trx.getCurrentBlock()).block_header.raw_data.timestamp;
  const unsigned = await tron.transactionBuilder.sendTrx(b.address, 3, a.address, { blockHeader: undefined });
  const { TransactionBuilder } = tron;
  const old = await tron.transactionBuilder.sendTrx(b.address, 3, a.address, {
    blockHeader: {
      ref_block_bytes: unsigned.raw_data.ref_block_bytes,
      ref_block_hash: unsigned.raw_data.ref_block_hash,
      expiration: head - 1,
      timestamp: head - 2,
    },
  });
  return refused(await tron.trx.sign(old, a.key), "TRANSACTION_EXPIRATION_ERROR");
});
await step("wrong reference block", async () => {
  const unsigned = await tron.transactionBuilder.sendTrx(b.address, 4, a.address);
  const other = await tron.transactionBuilder.sendTrx(b.address, 4, a.address, {
    blockHeader: {
      ref_block_bytes: unsigned.raw_data.ref_block_bytes,
      ref_block_hash: "0123456789abcdef",
      expiration: unsigned.raw_data.expiration,
      timestamp: unsigned.raw_data.timestamp,
    },
  });
  return refused(await tron.trx.sign(other, a.key), "TAPOS_ERROR");
});
await step("wrong signature", async () => {
  const unsigned = await tron.transactionBuilder.sendTrx(b.address, 5, a.address);
  return refused(await tron.trx.multiSign(unsigned, b.key).catch(() => as(b).trx.sign(unsigned, b.key, false, false, false)).catch(() => {
    const signed = structuredClone(unsigned);
    signed.signature = [TronWeb.utils.crypto.ECKeySign(TronWeb.utils.code.hexStr2byteArray(unsigned.txID), TronWeb.utils.code.hexStr2byteArray(b.key))];
    return signed;
  }), "SIGERROR");
});
await step("insufficient balance", async () => {
  const unsigned = await tron.transactionBuilder.sendTrx(b.address, 4_900_000, fresh.address.base58);
  const raw = { ...unsigned };
  await send(await as({ key: fresh.privateKey }).trx.sign(raw, fresh.privateKey));
  const more = await tron.transactionBuilder.sendTrx(b.address, 4_900_000, fresh.address.base58);
  return refused(await as({ key: fresh.privateKey }).trx.sign(more, fresh.privateKey), "CONTRACT_VALIDATE_ERROR");
});
await step("updateAccountPermissions, 2-of-3 multiSign, getSignWeight, getApprovedList", async () => {
  const owner = { type: 0, permission_name: "owner", threshold: 1, keys: [{ address: c.address, weight: 1 }] };
  const active = {
    type: 2, permission_name: "two of three", threshold: 2,
    operations: "0200000000000000000000000000000000000000000000000000000000000000".replace(/^02/, "02"),
    keys: [a, b, c].map((k) => ({ address: k.address, weight: 1 })),
  };
  const update = await tron.transactionBuilder.updateAccountPermissions(c.address, owner, null, [active]);
  const info = await send(await as(c).trx.sign(update, c.key));
  same(info.fee >= 100_000_000, true, "fee");
  const unsigned = await tron.transactionBuilder.sendTrx(b.address, 6, c.address, { permissionId: 2 });
  const once = await tron.trx.multiSign(unsigned, a.key, 2);
  same((await tron.trx.getSignWeight(once, 2)).result.code, "NOT_ENOUGH_PERMISSION", "one signature");
  await refused(once, "SIGERROR");
  const twice = await tron.trx.multiSign(once, b.key, 2);
  const weight = await tron.trx.getSignWeight(twice, 2);
  same([weight.result.code ?? null, weight.current_weight], [null, 2], "two signatures");
  same((await tron.trx.getApprovedList(twice)).approved_list.length, 2, "approved");
  const done = await send(twice);
  same(done.fee >= 1_000_000, true, "multi-signature fee");
});
await step("node-built: createtransaction, createaccount, deploycontract, triggersmartcontract", async () => {
  const build = async (call, body) => {
    const answer = await tron.fullNode.request(`wallet/${call}`, { owner_address: a.address, visible: true, ...body }, "post");
    const transaction = answer.transaction ?? answer;
    if (!transaction.txID) throw new Error(JSON.stringify(answer));
    // tronweb re-encodes the transaction from its JSON and compares the id before it signs.
    return send(await tron.trx.sign({ ...transaction, visible: false, ...(await inHex(transaction)) }, a.key));
  };
  const inHex = async (t) => {
    const raw = structuredClone(t.raw_data);
    const convert = (o) => {
      for (const [k, v] of Object.entries(o)) {
        if (v && typeof v === "object") convert(v);
        else if (typeof v === "string" && TronWeb.isAddress(v)) o[k] = TronWeb.address.toHex(v).toLowerCase();
      }
    };
    convert(raw.contract);
    return { raw_data: raw };
  };
  await build("createtransaction", { to_address: b.address, amount: 8 });
  const other = await TronWeb.createAccount();
  await build("createaccount", { account_address: other.address.base58 });
  const { abi, bytecode } = artifact("Counter");
  const parameter = "7".padStart(64, "0");
  const deployed = await build("deploycontract", {
    abi: JSON.stringify(abi), bytecode, parameter, name: "Counter", fee_limit: 1_000_000_000, origin_energy_limit: 1_000_000,
    consume_user_resource_percent: 100, call_value: 0,
  });
  same(deployed.receipt.result, "SUCCESS", "deployment");
  const contract = TronWeb.address.fromHex(deployed.contract_address);
  const called = await build("triggersmartcontract", {
    contract_address: contract, function_selector: "increment(uint256)", parameter, fee_limit: 100_000_000,
  });
  same(called.contractResult[0], "e".padStart(64, "0"), "result");
  // What the interface calls a view is answered at once.
  const read = await tron.fullNode.request(
    "wallet/triggersmartcontract",
    { owner_address: a.address, contract_address: contract, function_selector: "count()", visible: true }, "post");
  same(read.constant_result, ["e".padStart(64, "0")], "view");
  const poor = await tron.fullNode.request(
    "wallet/createtransaction", { owner_address: a.address, to_address: a.address, amount: 1, visible: true }, "post");
  same(poor.Error, "class org.tron.core.exception.ContractValidateException : Cannot transfer TRX to yourself.", "error");
});
await step("OpenZeppelin's ERC-20, compiled for Shanghai", async () => {
  const solc = require("solc");
  const source = `// SPDX-License-Identifier: MIT
    pragma solidity ^0.8.20;
    import "@openzeppelin/contracts/token/ERC20/ERC20.sol";
    contract Plain is ERC20 { constructor() ERC20("Plain", "PLN") { _mint(msg.sender, 1000); } }`;
  const input = {
    language: "Solidity",
    sources: { "Plain.sol": { content: source } },
    settings: { evmVersion: "shanghai", outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } } },
  };
  const read = (name) => ({ contents: fs.readFileSync(path.join(process.cwd(), "node_modules", name), "utf8") });
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
  const { abi, evm } = output.contracts["Plain.sol"].Plain;
  const unsigned = await tron.transactionBuilder.createSmartContract(
    { abi, bytecode: evm.bytecode.object, name: "Plain", feeLimit: 1_000_000_000, originEnergyLimit: 1_000_000 }, a.address);
  const info = await send(await tron.trx.sign(unsigned, a.key));
  same(info.receipt.result, "SUCCESS", "deployment");
  const contract = await tron.contract(abi, unsigned.contract_address);
  const moved = await mined(await contract.transfer(b.address, 400).send({ feeLimit: 100_000_000 }));
  same(moved.receipt.result, "SUCCESS", "transfer");
  same((await contract.balanceOf(b.address).call()).toString(), "400", "balance");
  const refusal = await tron.transactionBuilder.triggerConstantContract(
    unsigned.contract_address, "transfer(address,uint256)", {},
    [{ type: "address", value: b.address }, { type: "uint256", value: 601 }], a.address)
    .then(() => "none", (error) => error.message);
  same(refusal, "REVERT opcode executed", "more than there is");
  return `${moved.receipt.energy_usage_total} energy`;
});
await step("getTransaction, getTransactionInfo (solidified)", async () => {
  const unsigned = await tron.transactionBuilder.sendTrx(b.address, 7, a.address);
  const info = await send(await tron.trx.sign(unsigned, a.key));
  const solid = await mined(unsigned.txID, (i) => tron.trx.getTransactionInfo(i));
  same(solid, info, "info");
  same((await tron.trx.getConfirmedTransaction(unsigned.txID)).ret[0].contractRet, "SUCCESS", "ret");
});
process.exit(failures === 0 ? 0 : 1);
