// What pages in browsers and other programs get to see of the network, headers included: requests as they send them, with Node's
// fetch.

import os from "node:os";

import { control, end, net, same, stepsOf } from "./steps.mjs";

const step = stepsOf("fetch of Node.js");
const { port } = new URL(net.url);

/// Status, headers for pages, and body of a request that a page sends; without `origin` it is a program that asks.
async function get(path, { method = "GET", origin = "https://page.example", headers = {}, at = net.url } = {}) {
  const response = await fetch(`${at}${path}`, { method, headers: { ...(origin && { origin }), ...headers } });
  const header = (name) => response.headers.get(name);
  const [status, text] = [response.status, await response.text()];
  return { status, text, header, cors: header("access-control-allow-origin"), allow: header("allow") };
}

await step("an answer of any status has CORS", [], async () => {
  const health = await get("/healthcheck");
  same([health.status, health.cors, health.text], [200, "*", "OK"], "health");
  const block = await get("/wallet/getnowblock");
  same([block.status, block.cors, JSON.parse(block.text).blockID.length], [200, "*", 64], "a call");
  for (const path of ["/", "/wallet/nothing", "/v1/nothing", "/walletsolidity/getcontract"]) {
    const { status, cors, text } = await get(path);
    const { Error } = JSON.parse(text);
    same([status, cors, Error.startsWith(`${path === "/" ? "" : path} does not exist on this network`)], [404, "*", true], path);
    for (const served of ["/wallet", "/walletsolidity", "/v1", "/admin/accounts-json", "/healthcheck", "/devnet/"]) {
      same([served, Error.includes(served)], [served, true], "what is served");
    }
  }
  same((await get("/walletsolidity/getcontract")).text.includes("; /wallet/getcontract does."), true, "the tree that has it");
  for (const path of ["/healthcheck", "/wallet/getnowblock", "/v1/blocks/latest/events"]) {
    const { status, cors, allow } = await get(path, { method: "DELETE" });
    same([status, cors, allow], [405, "*", "GET, POST"], path);
  }
  for (const fault of [{ status: 503 }, { status: 429, html: true }, { html: true }]) {
    await control("faults", { ...fault, requests: 1 });
    const { status, cors } = await get("/wallet/getnowblock");
    same([status, cors], [fault.status ?? 200, "*"], "a fault");
  }
});

await step("preflight allows the headers that were asked", [], async () => {
  const asked = "content-type,tron-pro-api-key,x-of-our-own";
  const headers = { "access-control-request-method": "POST", "access-control-request-headers": asked };
  for (const path of ["/healthcheck", "/wallet/getnowblock", "/walletsolidity/getnowblock", "/v1/blocks/latest/events", "/nothing"]) {
    const { status, cors, header } = await get(path, { method: "OPTIONS", headers });
    const allowed = ["methods", "headers"].map((what) => header(`access-control-allow-${what}`));
    same([status, cors, ...allowed], [204, "*", "GET, POST", asked], path);
  }
});

await step("accounts for programs on this machine, not for pages", [], async () => {
  const keys = net.accounts.map(({ key }) => key);
  const json = await get("/admin/accounts-json", { origin: null });
  same([json.status, json.cors, JSON.parse(json.text)], [200, null, { privateKeys: keys, more: [] }], "accounts-json");
  const listed = (values) => values.map((value, i) => `(${i}) ${value}\n`).join("");
  const title = (text) => `${text}\n==================\n\n`;
  const accounts = await Promise.all(net.accounts.map(async ({ address }) => {
    const { balance } = JSON.parse((await get(`/wallet/getaccount?visible=true&address=${address}`)).text);
    return `${address} (${Math.floor(balance / 1_000_000)} TRX)`;
  }));
  const text = `${title("Available Accounts")}${listed(accounts)}\n${title("Private Keys")}${listed(keys)}`;
  const plain = await get("/admin/accounts", { origin: null });
  same([plain.status, plain.cors, plain.text], [200, null, text], "accounts");
  for (const path of ["/admin/accounts", "/admin/accounts-json", "/devnet/info"]) {
    const { status, cors, text } = await get(path);
    same([status, cors, keys.some((key) => text.includes(key))], [403, null, false], path);
    const preflight = await get(path, { method: "OPTIONS", headers: { "access-control-request-method": "GET" } });
    same([preflight.status, preflight.cors], [405, null], path);
  }
});

await step("both loopback addresses", [], async () => {
  const block = async (at) => JSON.parse((await get("/wallet/getblockbynum?num=0", { at: `http://${at}:${port}` })).text).blockID;
  const isThere = (loopback) => Object.values(os.networkInterfaces()).flat().some(({ address }) => address === loopback);
  for (const at of ["127.0.0.1", "localhost", ...(isThere("::1") ? ["[::1]"] : [])]) same([at, await block(at)], [at, net.genesis_block], "block 0");
});

end();
