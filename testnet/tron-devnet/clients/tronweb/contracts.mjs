// What people do with contracts: standard tokens from npm, events, payable calls, CREATE2, waiting for results, messages.

import {
  TronWeb, a, address, as, b, c, deploy, fails, fixtures, mined, same, send, solid, step, stepOf6, trigger, tron, uint,
} from "./harness.mjs";

const LIMIT = { feeLimit: 1_000_000_000 };
const SENT = ["/wallet/triggersmartcontract", "/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid"];
const CALLS = [...SENT, "/wallet/triggerconstantcontract"];
const { utils } = tron;
const strip = (hex) => hex.replace(/^0x/, "");
/// The 20 bytes that contracts know an address by.
const short = (text) => TronWeb.address.toHex(text).slice(2).toLowerCase();
const word = (hex) => strip(hex).padStart(64, "0");

/// What a call without a transaction reverts with.
async function reverts(at, selector, parameters, from = a) {
  const { constant_result, result } = await tron.fullNode.request(
    "wallet/triggerconstantcontract",
    {
      owner_address: TronWeb.address.toHex(from.address), contract_address: TronWeb.address.toHex(at),
      function_selector: selector, parameter: strip(utils.abi.encodeParams(parameters.map((p) => p.type), parameters.map((p) => p.value))),
    },
    "post",
  );
  same([result.result, TronWeb.toUtf8(result.message)], [true, "REVERT opcode executed"], "answer");
  return constant_result[0];
}
const selector = (error) => strip(TronWeb.sha3(error)).slice(0, 8);

await step("OpenZeppelin's ERC-20", CALLS, async () => {
  const { contract, address: at } = await deploy(fixtures.Coin);
  const moved = await mined(await contract.transfer(b.address, 400).send(LIMIT));
  same([moved.receipt.result, moved.contractResult], ["SUCCESS", [word("1")]], "transfer");
  await mined(await contract.approve(b.address, 50).send(LIMIT));
  same((await contract.allowance(a.address, b.address).call()).toString(), "50", "allowance");
  const spent = await send(await trigger(b, at, "transferFrom(address,address,uint256)", [address(a.address), address(c.address), uint(50)]), b);
  same(spent.receipt.result, "SUCCESS", "transferFrom");
  const balances = await Promise.all([a, b, c].map((who) => contract.balanceOf(who.address).call()));
  same(balances.map(String), ["550", "400", "50"], "balances");
  const error = await reverts(at, "transfer(address,uint256)", [address(b.address), uint(551)]);
  same(error, selector("ERC20InsufficientBalance(address,uint256,uint256)") + word(short(a.address)) + word("226") + word("227"), "error");
  return `${moved.receipt.energy_usage_total} energy`;
});

await step("OpenZeppelin's ERC-721", CALLS, async () => {
  const { contract, address: at } = await deploy(fixtures.Art);
  same(await contract.ownerOf(7).call().then((owner) => TronWeb.address.fromHex(owner)), a.address, "owner");
  await mined(await contract["safeTransferFrom(address,address,uint256)"](a.address, b.address, 7).send(LIMIT));
  same(await contract.ownerOf(7).call().then((owner) => TronWeb.address.fromHex(owner)), b.address, "new owner");
  same(await contract.supportsInterface("0x80ac58cd").call(), true, "interface");
  const error = await reverts(at, "safeTransferFrom(address,address,uint256)", [address(b.address), address(at), uint(7)], b);
  same(error, selector("ERC721InvalidReceiver(address)") + word(short(at)), "a contract that takes none");
});

await step("OpenZeppelin's ERC-1155", CALLS, async () => {
  const { contract } = await deploy(fixtures.Items);
  await mined(await contract.safeTransferFrom(a.address, b.address, 3, 20, "0x").send(LIMIT));
  const balances = await contract.balanceOfBatch([a.address, b.address], [3, 3]).call();
  same(balances.map(String), ["30", "20"], "balances");
  same(await contract.uri(3).call(), "https://items.example/{id}", "uri");
});

let till;
await step("payable calls, a contract's own TRX, decoded events", [...SENT, "/wallet/getaccount"], async () => {
  till = await deploy(fixtures.Till, { callValue: 100 });
  const { contract, address: at } = till;
  const paid = await mined(await contract.pay("for tea").send({ ...LIMIT, callValue: 25 }));
  same([paid.receipt.result, paid.contractResult], ["SUCCESS", [word("7d")]], "the contract has 125");
  const { data, topics } = paid.log[0];
  const event = utils.abi.decodeParams([], ["uint256", "string"], `0x${data}`);
  same([topics[0], topics[1]], [strip(TronWeb.sha3("Paid(address,uint256,string)")), word(short(a.address))], "topics");
  same(event.map(String), ["25", "for tea"], "event");
  // A plain transfer of TRX to a contract is refused: it must be a call.
  const plain = await tron.transactionBuilder.sendTrx(at, 5, a.address);
  const { code } = await tron.trx.sendRawTransaction(await tron.trx.sign(plain));
  same(code, "CONTRACT_VALIDATE_ERROR", "a plain transfer");
  const received = await send(await trigger(a, at, "", [], { callValue: 5 }));
  same([received.receipt.result, received.log.length], ["SUCCESS", 1], "receive");
  const before = await tron.trx.getUnconfirmedBalance(c.address);
  const back = await mined(await contract.payBack(c.address, 30).send(LIMIT));
  same(await tron.trx.getUnconfirmedBalance(c.address), before + 30, "paid back");
  const { caller_address, transferTo_address, callValueInfo } = back.internal_transactions[0];
  const hex = (text) => TronWeb.address.toHex(text).toLowerCase();
  same([caller_address, transferTo_address, callValueInfo], [hex(at), hex(c.address), [{ callValue: 30 }]], "internal transaction");
  same(await tron.trx.getUnconfirmedBalance(at), 100, "left");
});

await step("custom errors, panics and requires", CALLS, async () => {
  const { contract, address: at } = till;
  const info = await mined(await contract.pay("too little").send({ ...LIMIT, callValue: 9 }));
  same([info.receipt.result, info.contractResult], ["REVERT", [selector("TooLittle(uint256,uint256)") + word("a") + word("9")]], "custom error");
  same(await tron.trx.getUnconfirmedBalance(at), 100, "the TRX came back");
  same(await reverts(at, "divide(uint256)", [uint(0)]), selector("Panic(uint256)") + word("12"), "division by zero");
  const text = Buffer.from("not paid back").toString("hex").padEnd(64, "0");
  const error = await reverts(at, "payBack(address,uint256)", [address(c.address), uint(101)]);
  same(error, selector("Error(string)") + word("20") + word("d") + text, "require");
});

await step("CREATE2 at the address computed beforehand", [...SENT, "/wallet/getaccount"], async () => {
  const { contract, address: factory } = await deploy(fixtures.Factory);
  const salt = word("5a17");
  // TRON has its own address byte where Ethereum has 0xff.
  const code = strip(utils.ethersUtils.keccak256(`0x${fixtures.Till.bytecode}`));
  const hash = utils.ethersUtils.keccak256(`0x41${short(factory)}${salt}${code}`);
  const expected = TronWeb.address.fromHex(`41${hash.slice(-40)}`);
  const info = await mined(await contract.make(`0x${salt}`).send({ ...LIMIT, callValue: 50 }));
  same(info.receipt.result, "SUCCESS", "made");
  same(TronWeb.address.fromHex(`41${info.log.at(-1).data.slice(-40)}`), expected, "address");
  same(await tron.trx.getUnconfirmedBalance(expected), 50, "its TRX");
  const made = await tron.contract(fixtures.Till.abi, expected);
  await mined(await made.payBack(c.address, 50).send(LIMIT));
  same(await tron.trx.getUnconfirmedBalance(expected), 0, "it works");
  const again = await mined(await contract.make(`0x${salt}`).send(LIMIT));
  same(again.receipt.result === "SUCCESS", false, "a second one at the same address");
});

await step("contract().at(), send with shouldPollResponse", ["/wallet/getcontract", "/walletsolidity/gettransactioninfobyid"], async () => {
  const contract = await tron.contract().at(till.address);
  const options = { ...LIMIT, shouldPollResponse: true };
  same(String(await contract.pay("polled").send({ ...options, callValue: 11 })), "111", "result");
  const [id, value] = await contract.pay("again").send({ ...options, callValue: 10, keepTxID: true });
  same([id.length, String(value)], [64, "121"], "id and result");
  same(await fails(contract.pay("").send({ ...options, callValue: 1 })), "REVERT opcode executed", "error");
});

await step("contract().new()", ["/wallet/broadcasttransaction"], async () => {
  const { abi, bytecode } = fixtures.Till;
  const contract = await tron.contract().new({ abi, bytecode, ...LIMIT, callValue: 1 });
  same(await tron.trx.getUnconfirmedBalance(contract.address), 1, "its TRX");
});

await step("trx.sendTransaction, trx.sign, a memo, a longer life", ["/wallet/broadcasttransaction"], async () => {
  const answer = await as(b).trx.sendTransaction(c.address, 3);
  same([answer.result, answer.txid.length], [true, 64], "sendTransaction");
  await mined(answer.txid);
  const { transactionBuilder: builder } = tron;
  const unsigned = await builder.sendTrx(b.address, 4, a.address);
  const longer = await builder.extendExpiration(await builder.addUpdateData(unsigned, "for tea", "utf8"), 600);
  same(longer.raw_data.expiration - unsigned.raw_data.expiration, 600_000, "expiration");
  const info = await send(longer);
  same(info.fee - (info.receipt.net_fee ?? 0), 1_000_000, "a memo costs 1 TRX");
  same(TronWeb.toUtf8((await tron.trx.getTransaction(info.id)).raw_data.data), "for tea", "note");
});

await stepOf6("signed messages and typed data", [], async () => {
  const text = "hello";
  const signature = await tron.trx.signMessageV2(text, a.key);
  same(await tron.trx.verifyMessageV2(text, signature), a.address, "message");
  same((await tron.trx.verifyMessageV2("other", signature)) === a.address, false, "another message");
  const digest = TronWeb.sha3("a digest");
  same(await tron.trx.verifyMessage(digest, await tron.trx.sign(digest, a.key), a.address), true, "digest");
  const domain = { name: "Devnet", version: "1", chainId: 1, verifyingContract: a.address };
  const [types, value] = [{ Mail: [{ name: "to", type: "address" }] }, { to: b.address }];
  const typed = await tron.trx.signTypedData(domain, types, value, a.key);
  same(tron.trx.verifyTypedData(domain, types, value, typed, a.address), true, "typed data");
  same(await fails((async () => tron.trx.verifyTypedData(domain, types, { to: c.address }, typed, a.address))()), "Signature does not match", "other data");
});

const EVENTS = ["transactions/{id}", "contracts/{address}", "blocks/{number}", "blocks/latest"];
await stepOf6("events", EVENTS.map((of) => `/v1/${of}/events`), async () => {
  const { contract, address: at } = await deploy(fixtures.Till);
  const infos = [];
  for (const note of ["one", "two", "three"]) {
    infos.push(await mined(await contract.pay(note).send({ ...LIMIT, callValue: 10 + infos.length })));
  }
  const { data: [event], success } = await tron.event.getEventsByTransactionID(infos[1].id);
  same([success, event.event_name, event.event, event.block_number], [true, "Paid", "Paid(address indexed by, uint256 amount, string note)", infos[1].blockNumber], "event");
  same([event.transaction_id, event.contract_address, event.block_timestamp], [infos[1].id, at, infos[1].blockTimeStamp], "where");
  const { by, amount, note } = event.result;
  same([TronWeb.address.fromHex(by.replace(/^0x/, "41")), amount, note], [a.address, "11", "two"], "arguments");

  const notes = ({ data }) => data.map(({ result }) => result.note);
  const oldest = { eventName: "Paid", orderBy: "block_timestamp,asc" };
  same(notes(await tron.event.getEventsByContractAddress(at, oldest)), ["one", "two", "three"], "of the contract");
  const first = await tron.event.getEventsByContractAddress(at, { ...oldest, limit: 2 });
  const rest = await tron.event.getEventsByContractAddress(at, { ...oldest, limit: 2, fingerprint: first.meta.fingerprint });
  same([notes(first), notes(rest)], [["one", "two"], ["three"]], "pages");
  same(notes(await tron.event.getEventsByContractAddress(at, { eventName: "Other" })), [], "another name");
  await solid(infos[2].id);
  same(notes(await tron.event.getEventsByContractAddress(at, { onlyUnconfirmed: true })), [], "all are solidified");
  same(notes(await tron.event.getEventsByContractAddress(at, { ...oldest, onlyConfirmed: true })).length, 3, "solidified");

  same(notes(await tron.event.getEventsByBlockNumber(infos[2].blockNumber)).includes("three"), true, "of a block");
  same((await tron.event.getEventsOfLatestBlock()).success, true, "of the latest block");
});
