const Purse = artifacts.require("Purse");
const { accounts: funded } = JSON.parse(process.env.DEVNET);

contract("Purse", (accounts) => {
  const [owner, other] = accounts;
  let purse;

  before(async () => {
    purse = await Purse.deployed();
  });

  const balances = async () => [Number(await purse.balanceOf(owner)), Number(await purse.balanceOf(other))];
  const trx = (account) => tronWeb.trx.getUnconfirmedBalance(account);
  /// The message of the error that a transaction ends with.
  const fails = (sent) => sent.then(() => assert.fail("it succeeded"), (error) => String(error.message ?? error));
  const polled = { shouldPollResponse: true };

  it("has the network's funded accounts", async () => {
    assert.deepEqual(accounts, funded.map(({ address }) => address));
    assert.equal(await purse.owner(), tronWeb.address.toHex(owner));
  });

  it("moves what is there, for each account", async () => {
    const first = await purse.move(other, 10);
    assert.deepEqual(await balances(), [989, 10]);
    const second = await purse.move(owner, 4, { from: other });
    assert.deepEqual(await balances(), [993, 6]);
    const receipts = await waitForTransactionReceipt([first, second]);
    assert.deepEqual(receipts.map(({ receipt }) => receipt.result), ["SUCCESS", "SUCCESS"]);
    const events = await Promise.all([first, second].map((id) => tronWeb.event.getEventsByTransactionID(id)));
    const hex = (account) => tronWeb.address.toHex(account).replace(/^41/, "0x");
    assert.deepEqual(
      events.map(({ data: [{ event_name, result: { from, to, amount } }] }) => [event_name, from, to, amount]),
      [["Moved", hex(owner), hex(other), "10"], ["Moved", hex(other), hex(owner), "4"]],
    );
  });

  it("refuses what is not there", async () => {
    assert.equal(await fails(purse.move(owner, 7, { from: other, ...polled })), "REVERT opcode executed");
    assert.deepEqual(await balances(), [993, 6]);
  });

  it("takes TRX of anybody and gives it to the owner alone", async () => {
    const before = await trx(other);
    const id = await purse.pay({ from: other, callValue: 5_000_000 });
    const { fee } = await waitForTransactionReceipt(id);
    assert.deepEqual([await trx(purse.address), before - (await trx(other))], [5_000_000, 5_000_000 + (fee ?? 0)]);
    assert.equal(await fails(purse.withdraw(other, 1, { from: other, ...polled })), "REVERT opcode executed");
    const paid = await trx(other);
    await purse.withdraw(other, 2_000_000);
    assert.deepEqual([await trx(purse.address), (await trx(other)) - paid], [3_000_000, 2_000_000]);
  });
});
