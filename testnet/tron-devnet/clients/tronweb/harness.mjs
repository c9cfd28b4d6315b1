// What the tronweb tests share: clients for the network's accounts, and what they do with them.
//
// tronweb itself is unchanged. Its HTTP client is listened to, so that a step can only claim calls that tronweb made. TRONWEB is
// the name that the package is installed as.

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

import { called, net, same, stepsOf, until } from "./steps.mjs";

export * from "./steps.mjs";

const require = createRequire(path.join(process.cwd(), "x.js"));
const loaded = require(process.env.TRONWEB ?? "tronweb");
/// Before version 6 the package is the class.
export const TronWeb = loaded.TronWeb ?? loaded;
export const step = stepsOf(`tronweb ${TronWeb.version}`);
/// A step with what tronweb 5 does not have.
export const stepOf6 = loaded.TronWeb ? step : async () => {};

export const fixtures = JSON.parse(fs.readFileSync("contracts.json", "utf8"));
const committed = new URL("../../contracts/", import.meta.url);
export const artifact = (name) => JSON.parse(fs.readFileSync(new URL(`${name}.json`, committed), "utf8"));

/// A tronweb that acts for an account.
export function as(account) {
  const client = new TronWeb({ fullHost: net.url, privateKey: account.key });
  for (const provider of [client.fullNode, client.solidityNode, client.eventServer]) {
    provider.instance.interceptors.request.use((request) => {
      called.add(nameOf(request.url));
      return request;
    });
  }
  return client;
}

/// A call's path; ids in it are replaced by what they are.
function nameOf(url) {
  return `/${url.replace(/^\/+/, "").replace(/\?.*$/, "")}`
    .replace(/(contracts|accounts)\/T\w+/, "$1/{address}")
    .replace(/transactions\/[0-9a-f]{64}/, "transactions/{id}")
    .replace(/blocks\/\d+/, "blocks/{number}");
}

/// Clients that use a network at once have different accounts.
export const [a, b, c, d, e] = net.accounts.slice(Number(process.env.FIRST_ACCOUNT ?? 0));
export const tron = as(a);

/// A call that tronweb has no method for, made through its own HTTP client.
export const asked = (call) => ({ asked: call });

export const mined = (id) => until(() => tron.trx.getUnconfirmedTransactionInfo(id));
export const solid = (id) => until(() => tron.trx.getTransactionInfo(id));

/// Signs and broadcasts; the id.
export async function broadcast(unsigned, account = a) {
  const signed = unsigned.signature ? unsigned : await as(account).trx.sign(unsigned, account.key);
  const answer = await tron.trx.sendRawTransaction(signed);
  if (!answer.result) throw new Error(`${answer.code}: ${TronWeb.toUtf8(answer.message ?? "")}`);
  same(answer.txid, signed.txID, "id");
  return signed.txID;
}

/// Signs, broadcasts, and waits for the receipt.
export const send = async (unsigned, account = a) => mined(await broadcast(unsigned, account));

/// Broadcasts what must be refused, with this code and message.
export async function refused(signed, code, message) {
  const answer = await tron.trx.sendRawTransaction(signed);
  same([answer.result ?? false, answer.code, TronWeb.toUtf8(answer.message)], [false, code, message], "answer");
  same(answer.txid, signed.txID, "id");
  return `\`${code}\``;
}

/// Deploys a fixture from account a.
export async function deploy({ abi, bytecode }, options = {}) {
  const unsigned = await tron.transactionBuilder.createSmartContract(
    { abi, bytecode, feeLimit: 5_000_000_000, originEnergyLimit: 1_000_000, ...options },
    a.address,
  );
  const info = await send(unsigned);
  same([info.receipt.result, info.contract_address], ["SUCCESS", unsigned.contract_address], "deployment");
  const contract = await tron.contract(abi, unsigned.contract_address);
  return { contract, address: TronWeb.address.fromHex(unsigned.contract_address), info };
}

/// An unsigned call of a contract.
export async function trigger(owner, at, selector, parameters, options = {}) {
  const { transaction } = await tron.transactionBuilder.triggerSmartContract(
    at, selector, { feeLimit: 1_000_000_000, ...options }, parameters, owner.address);
  return transaction;
}

export const address = (value) => ({ type: "address", value });
export const uint = (value) => ({ type: "uint256", value });
