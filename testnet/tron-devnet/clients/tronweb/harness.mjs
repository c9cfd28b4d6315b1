// What the tronweb tests share: the network, clients for its accounts, and steps.
//
// tronweb itself is unchanged. Its HTTP client is listened to, so that a step can only claim calls that tronweb made.

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "x.js"));
export const { TronWeb, Contract } = require("tronweb");
export const CLIENT = `tronweb ${TronWeb.version}`;

/// What `lucid-testnet devnet --json` printed.
export const net = JSON.parse(process.env.DEVNET);
export const fixtures = JSON.parse(fs.readFileSync("contracts.json", "utf8"));
const committed = new URL("../../contracts/", import.meta.url);
export const artifact = (name) => JSON.parse(fs.readFileSync(new URL(`${name}.json`, committed), "utf8"));

const called = new Set();
let failures = 0;

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

// The tronpy tests have accounts 5 and up.
export const [a, b, c, d, e] = net.accounts;
export const tron = as(a);

/// A call that tronweb has no method for, made through its own HTTP client.
export const asked = (call) => ({ asked: call });

/// Runs `check` and prints a line of JSON about it. `calls` are those whose answers it looks at; one that was not made
/// is a failure. What `check` returns is shown in the table: it must be the same in every run.
export async function step(name, calls, check) {
  called.clear();
  const made = calls.map((call) => call.asked ?? call);
  const line = { client: CLIENT, step: name, calls: made, asked: calls.flatMap((call) => call.asked ?? []) };
  try {
    const saw = await check();
    const missing = made.filter((call) => !called.has(call));
    if (missing.length > 0) throw new Error(`not called: ${missing}`);
    Object.assign(line, { ok: true, saw: saw ?? "" });
  } catch (error) {
    failures += 1;
    Object.assign(line, { ok: false, saw: String(error?.stack ?? JSON.stringify(error)) });
  }
  console.log(JSON.stringify(line));
}

export const end = () => process.exit(failures === 0 ? 0 : 1);

export function same(seen, wanted, what) {
  const sorted = (v) => Object.fromEntries(Object.entries(v).sort(([l], [r]) => (l < r ? -1 : 1)));
  const plain = (_, v) => (typeof v === "bigint" ? v.toString() : v?.constructor === Object ? sorted(v) : v);
  const print = (value) => JSON.stringify(value, plain);
  const [s, w] = [print(seen), print(wanted)];
  if (s !== w) throw new Error(`${what}: ${s} instead of ${w}`);
}

/// The message of the error that `promise` ends with.
export async function fails(promise) {
  const value = await promise.then(
    (done) => ({ done }),
    (error) => ({ message: typeof error === "string" ? error : error.message }),
  );
  if ("done" in value) throw new Error(`no error, but ${JSON.stringify(value.done)}`);
  return value.message;
}

/// Asks until there is an answer with an id.
export async function until(read) {
  for (let i = 0; i < 300; i++) {
    const answer = await read();
    if (answer?.id) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("nothing came");
}

export const mined = (id) => until(() => tron.trx.getUnconfirmedTransactionInfo(id));
export const solid = (id) => until(() => tron.trx.getTransactionInfo(id));

/// Signs, broadcasts, and waits for the receipt.
export async function send(unsigned, account = a) {
  const signed = unsigned.signature ? unsigned : await as(account).trx.sign(unsigned, account.key);
  const answer = await tron.trx.sendRawTransaction(signed);
  if (!answer.result) throw new Error(`${answer.code}: ${TronWeb.toUtf8(answer.message ?? "")}`);
  same(answer.txid, signed.txID, "id");
  return mined(signed.txID);
}

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
