const Purse = artifacts.require("Purse");

module.exports = (deployer) => deployer.deploy(Purse, 1000);
