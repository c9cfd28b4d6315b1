// Compiles the contracts of this folder with npm's solc into NAME.json (abi, creation bytecode, deployed
// bytecode) and NAME.bin (the creation bytecode alone, raw).
//
//   npm install && npm run build     writes the files
//   npm install && npm run check     fails if one of these files differs from what its source compiles to
//
// The compiler may also be found through NODE_PATH.

const fs = require("fs");
const path = require("path");
const solc = require("solc");

const SOURCES = ["TestUsdt", "Counter"];
const WANTED = require("./package.json").dependencies.solc;

if (!solc.version().startsWith(`${WANTED}+`)) {
  console.error(`solc ${solc.version()} is not ${WANTED}`);
  process.exit(2);
}

// No metadata hash: the bytes depend on the code alone. TRON runs everything up to Cancun; Paris needs none of it.
const settings = {
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "paris",
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
};

function compile(name) {
  const file = `${name}.sol`;
  const sources = { [file]: { content: fs.readFileSync(path.join(__dirname, file), "utf8") } };
  const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
  for (const error of output.errors ?? []) {
    console.error(error.formattedMessage);
    if (error.severity === "error") process.exit(1);
  }
  const contract = output.contracts[file][name];
  const bytes = Buffer.from(contract.evm.bytecode.object, "hex");
  const json =
    JSON.stringify(
      {
        contractName: name,
        compiler: solc.version(),
        abi: contract.abi,
        bytecode: contract.evm.bytecode.object,
        deployedBytecode: contract.evm.deployedBytecode.object,
      },
      null,
      1,
    ) + "\n";
  return { [`${name}.json`]: Buffer.from(json), [`${name}.bin`]: bytes };
}

let failed = 0;
for (const name of SOURCES) {
  for (const [file, fresh] of Object.entries(compile(name))) {
    const target = path.join(__dirname, file);
    if (process.argv.includes("--check")) {
      const same = fs.existsSync(target) && fs.readFileSync(target).equals(fresh);
      console.log(`${file}: ${same ? "matches its source" : "DIFFERS from its source"}`);
      failed += same ? 0 : 1;
    } else {
      fs.writeFileSync(target, fresh);
      console.log(`${file}: written`);
    }
  }
}
process.exit(failed === 0 ? 0 : 1);
