// The network whose line of JSON is in DEVNET; account 0 deploys.
const { url, accounts } = JSON.parse(process.env.DEVNET);

module.exports = {
  networks: {
    development: { privateKey: accounts[0].key, fullHost: url, feeLimit: 1000 * 1e6, userFeePercentage: 100, network_id: "9" },
  },
  compilers: { solc: { version: "0.8.23" } },
};
