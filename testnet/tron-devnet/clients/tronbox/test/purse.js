const Purse = artifacts.require("Purse");

contract("Purse", ([owner]) => {
  const somebody = "410000000000000000000000000000000000000001";

  it("moves what is there", async () => {
    const purse = await Purse.deployed();
    await purse.move(somebody, 10);
    assert.equal(Number(await purse.balanceOf(owner)), 990);
    assert.equal(Number(await purse.balanceOf(somebody)), 10);
  });

  it("refuses what is not", async () => {
    const purse = await Purse.deployed();
    const error = await purse.move(somebody, 991, { shouldPollResponse: true }).then(
      () => assert.fail("it was moved"),
      (reason) => reason,
    );
    assert.match(String(error.message ?? error), /REVERT/);
    assert.equal(Number(await purse.balanceOf(owner)), 990);
  });
});
