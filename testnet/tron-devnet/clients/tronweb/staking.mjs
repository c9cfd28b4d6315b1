// Staking, delegating what it yields, taking it back; who pays for a contract's energy; the settings of contracts and accounts.

import { TronWeb, a, address, as, b, d, deploy, e, fixtures, same, send, step, stepOf6, trigger, tron, uint } from "./harness.mjs";

const TRX = 1_000_000;
const SENT = ["/wallet/broadcasttransaction", "/wallet/gettransactioninfobyid"];
const { transactionBuilder: build, trx } = tron;
const ofHead = { confirmed: false };
const hex = (account) => TronWeb.address.toHex(account.address).toLowerCase();

await step("stake TRX", [...SENT, "/wallet/getaccountresource", "/wallet/getaccountnet", "/wallet/getaccount"], async () => {
  const before = await trx.getUnconfirmedBalance(d.address);
  const fees = [];
  for (const resource of ["ENERGY", "BANDWIDTH"]) {
    fees.push((await send(await build.freezeBalanceV2(50_000 * TRX, resource, d.address), d)).fee ?? 0);
  }
  same(await trx.getUnconfirmedBalance(d.address), before - 100_000 * TRX - fees[0] - fees[1], "balance");
  const resources = await trx.getAccountResources(d.address);
  same([resources.EnergyLimit > 28_200, resources.NetLimit > 1_000, resources.tronPowerLimit], [true, true, 100_000], "resources");
  same((await trx.getBandwidth(d.address)) > 1_000, true, "bandwidth");
  const { frozenV2 } = await trx.getUnconfirmedAccount(d.address);
  same(frozenV2, [{ amount: 50_000 * TRX }, { type: "ENERGY", amount: 50_000 * TRX }, { type: "TRON_POWER" }], "stakes");
});

let coin;
await step("staked energy and bandwidth pay for a call", ["/wallet/triggersmartcontract", ...SENT], async () => {
  coin = (await deploy(fixtures.Coin)).address;
  const info = await send(await trigger(d, coin, "approve(address,uint256)", [address(a.address), uint(1)]), d);
  const { energy_usage, energy_usage_total, energy_fee, net_fee, result } = info.receipt;
  same([result, energy_usage, energy_fee, net_fee, info.fee], ["SUCCESS", energy_usage_total, undefined, undefined, undefined], "receipt");
  return "no fee";
});

const DELEGATIONS = ["getcandelegatedmaxsize", "getdelegatedresourcev2", "getdelegatedresourceaccountindexv2"];
await step("delegate energy and take it back", [...SENT, ...DELEGATIONS.map((call) => `/wallet/${call}`)], async () => {
  const most = (await trx.getCanDelegatedMaxSize(d.address, "ENERGY", ofHead)).max_size;
  same(most > 30_000 * TRX && most <= 50_000 * TRX, true, "what may be lent");
  await send(await build.delegateResource(20_000 * TRX, e.address, "ENERGY", d.address), d);
  const { delegatedResource } = await trx.getDelegatedResourceV2(d.address, e.address, ofHead);
  same(delegatedResource, [{ from: hex(d), to: hex(e), frozen_balance_for_energy: 20_000 * TRX }], "loan");
  const index = await trx.getDelegatedResourceAccountIndexV2(e.address, ofHead);
  same(index, { account: hex(e), fromAccounts: [hex(d)] }, "index");
  same((await trx.getAccountResources(e.address)).EnergyLimit > 0, true, "energy");
  await send(await build.undelegateResource(20_000 * TRX, e.address, "ENERGY", d.address), d);
  same(await trx.getDelegatedResourceV2(d.address, e.address, ofHead), {}, "no loan");
});

const UNSTAKING = ["getavailableunfreezecount", "getcanwithdrawunfreezeamount", "getaccount"];
await step("unstake, change one's mind", [...SENT, ...UNSTAKING.map((call) => `/wallet/${call}`)], async () => {
  same((await trx.getAvailableUnfreezeCount(d.address, ofHead)).count, 32, "how often");
  await send(await build.unfreezeBalanceV2(1_000 * TRX, "ENERGY", d.address), d);
  same((await trx.getAvailableUnfreezeCount(d.address, ofHead)).count, 31, "how often");
  const [{ unfreeze_amount, unfreeze_expire_time }] = (await trx.getUnconfirmedAccount(d.address)).unfrozenV2;
  const days = Math.round((unfreeze_expire_time - Date.now()) / 86_400_000);
  same([unfreeze_amount, days], [1_000 * TRX, 14], "unstaking");
  const at = async (time) => (await trx.getCanWithdrawUnfreezeAmount(d.address, time, ofHead)).amount ?? 0;
  same([await at(unfreeze_expire_time - 1), await at(unfreeze_expire_time)], [0, 1_000 * TRX], "withdrawable");
  const early = await as(d).trx.sign(await build.withdrawExpireUnfreeze(d.address), d.key);
  const { code, message } = await trx.sendRawTransaction(early);
  same([code, TronWeb.toUtf8(message)], ["CONTRACT_VALIDATE_ERROR", "Contract validate error : no unFreeze balance to withdraw "], "early");
  await send(await build.cancelUnfreezeBalanceV2(d.address), d);
  same((await trx.getAvailableUnfreezeCount(d.address, ofHead)).count, 32, "cancelled");
  return "14 days";
});

await step("a contract whose deployer pays", ["/wallet/triggersmartcontract", ...SENT], async () => {
  const { abi, bytecode } = fixtures.Coin;
  const options = { abi, bytecode, feeLimit: 5_000 * TRX, userFeePercentage: 0, originEnergyLimit: 1_000_000 };
  const deployed = await send(await build.createSmartContract(options, e.address), e);
  // After the deployment, which would use the energy up.
  await send(await build.freezeBalanceV2(50_000 * TRX, "ENERGY", e.address), e);
  const info = await send(await trigger(b, deployed.contract_address, "approve(address,uint256)", [address(a.address), uint(1)]), b);
  const { origin_energy_usage, energy_usage_total, energy_fee } = info.receipt;
  same([origin_energy_usage, energy_fee], [energy_usage_total, undefined], "energy");
});

await stepOf6("contract settings", [...SENT, "/wallet/getcontractinfo", "/wallet/getcontract"], async () => {
  await send(await build.updateSetting(coin, 40, a.address));
  await send(await build.updateEnergyLimit(coin, 5_000, a.address));
  const { smart_contract: set } = await trx.getContractInfo(coin);
  same([set.consume_user_resource_percent, set.origin_energy_limit], [40, 5_000], "settings");
  await send(await build.clearABI(coin, a.address));
  // tronweb keeps contracts that it has read.
  same((await as(a).trx.getContract(coin)).abi.entrys ?? [], [], "interface");
});

await step("an account's name", [...SENT, "/wallet/getaccount"], async () => {
  // No two accounts have the same one.
  const name = `account ${e.address}`;
  await send(await build.updateAccount(name, e.address), e);
  same(TronWeb.toUtf8((await trx.getUnconfirmedAccount(e.address)).account_name), name, "name");
});
