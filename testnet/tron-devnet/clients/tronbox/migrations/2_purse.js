const Purse = artifacts.require("Purse");

module.exports = async (deployer) => {
  await deployer.deploy(Purse, 1000);
  // What a migration does with a contract counts at once, before there is a block.
  const [purse, account] = [await Purse.deployed(), "410000000000000000000000000000000000000002"];
  await purse.move(account, 1);
  const balance = Number(await purse.balanceOf(account));
  if (balance !== 1) throw new Error(`a balance of ${balance} instead of 1`);
};
