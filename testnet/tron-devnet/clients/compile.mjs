// Compiles Fixtures.sol with npm's solc into contracts.json of the working directory: { NAME: { abi, bytecode } }.

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "x.js"));
const solc = require("solc");
const source = new URL("Fixtures.sol", import.meta.url);

const input = {
  language: "Solidity",
  sources: { "Fixtures.sol": { content: fs.readFileSync(source, "utf8") } },
  // The newest that this compiler knows; the committed contracts are compiled for an older one.
  settings: { evmVersion: "shanghai", outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } } },
};
const read = (name) => ({ contents: fs.readFileSync(path.join(process.cwd(), "node_modules", name), "utf8") });
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
const errors = (output.errors ?? []).filter((error) => error.severity === "error");
errors.forEach((error) => console.error(error.formattedMessage));
if (errors.length > 0) process.exit(1);
const contracts = Object.entries(output.contracts["Fixtures.sol"]).map(([name, { abi, evm }]) => [
  name,
  { abi, bytecode: evm.bytecode.object },
]);
fs.writeFileSync("contracts.json", JSON.stringify(Object.fromEntries(contracts)));
