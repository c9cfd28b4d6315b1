// The admin methods under /devnet, and what tronweb sees of them. No block comes by itself on this network.

import { TronWeb, a, as, broadcast, control, e, fails, mined, refused, same, step, tron } from "./harness.mjs";

const TRX = 1_000_000;
const DAY = 86_400_000;
const SENT = ["/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid", "/wallet/getaccount"];
const { transactionBuilder: build, trx } = tron;

await step("travel over the time of unstaking", [...SENT, "/wallet/getnowblock"], async () => {
  await broadcast(await build.freezeBalanceV2(10 * TRX, "ENERGY", e.address), e);
  await broadcast(await build.unfreezeBalanceV2(4 * TRX, "ENERGY", e.address), e);
  same((await trx.getUnconfirmedAccount(e.address)).unfrozenV2.map((part) => part.unfreeze_amount), [4 * TRX], "unstaking");
  const early = await as(e).trx.sign(await build.withdrawExpireUnfreeze(e.address), e.key);
  await refused(early, "CONTRACT_VALIDATE_ERROR", "Contract validate error : no unFreeze balance to withdraw ");
  const before = await control("mine");
  const after = await control("travel", { milliseconds: 14 * DAY });
  same([after.number, after.pending, after.time >= before.time + 14 * DAY], [before.number + 1, 0, true], "a block of that time");
  const { number, timestamp } = (await trx.getCurrentBlock()).block_header.raw_data;
  same([number, timestamp], [after.number, after.time], "the newest block");
  const id = await broadcast(await build.withdrawExpireUnfreeze(e.address), e);
  await control("mine");
  same((await mined(id)).withdraw_expire_amount, 4 * TRX, "withdrawn");
});

await step("revert restores pending transactions and the clock", SENT, async () => {
  const { address: { base58: to } } = await TronWeb.createAccount();
  const pay = async (amount) => broadcast(await build.sendTrx(to, amount, a.address));
  const first = await pay(1);
  const [before, { id }] = [await control("info"), await control("snapshot")];
  await control("mine");
  const second = await pay(2);
  const travelled = await control("travel", { milliseconds: DAY });
  same([travelled.number, travelled.now - before.now >= DAY], [before.number + 2, true], "travelled");
  same([(await mined(second)).id, await trx.getUnconfirmedBalance(to)], [second, 3], "both are in blocks");
  const reverted = await control("revert", { id });
  const passed = reverted.now - before.now;
  same([reverted, passed >= 0 && passed < DAY / 2], [{ ...before, now: reverted.now }, true], "as it was, and the time goes on from there");
  same([await trx.getUnconfirmedBalance(to), await trx.getUnconfirmedTransactionInfo(first)], [1, {}], "the first one waits");
  same(await fails(trx.getTransaction(second)), "Transaction not found", "the second one is gone");
  await control("mine");
  same((await mined(first)).blockNumber, before.number + 1, "block");
});

await step("mine into the past", [], async () => {
  const { now: _, ...before } = await control("info");
  const error = `400: time must be later than that of the newest block, ${before.time}`;
  for (const time of [before.time, before.time - 1, 0]) same(await fails(control("mine", { time })), error, "error");
  const { now, ...after } = await control("info");
  same([after, now >= before.time], [before, true], "nothing changed");
  same((await control("mine", { time: before.time + 1 })).time, before.time + 1, "one millisecond later");
});

await step("40 snapshots", [], async () => {
  const ids = [];
  for (let i = 0; i < 40; i++) ids.push((await control("snapshot")).id);
  same(ids, ids.map((_, i) => ids[0] + i), "ids");
  const { number } = await control("mine");
  same([(await control("revert", { id: ids[1] })).number, number], [number - 1, number], "the second one");
  same(await fails(control("revert", { id: ids[39] })), `400: there is no snapshot ${ids[39]}`, "what came after it");
  same((await control("revert", { id: ids[0] })).number, number - 1, "the first one");
});
