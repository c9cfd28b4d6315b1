// Compiles the project's contracts with npm's solc. Beside each source:
//   NAME.json   interface, creation code, deployed code; of the vault also the deployed code's hash
//   NAME.bin    the creation code alone, raw; of contracts that only tests use there is nothing else
// The vault's broken variants (tron-bridge/contracts/variants.js) go into variants.bin, one creation code after the other,
// and variants.json, which says where each lies.
//
//   npm install && npm run build     writes the files
//   npm install && npm run check     fails if one of these files differs from what its source compiles to
//
// The compilers may also be found through NODE_PATH.

const fs = require("fs");
const path = require("path");
const { dependencies } = require("./package.json");

const ROOT = path.join(__dirname, "..", "..");

// No metadata hash: the bytes depend on the code alone. TRON runs everything up to Cancun; Paris needs none of it.
const settings = (more) => ({
  optimizer: { enabled: true, runs: 200 },
  evmVersion: "paris",
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  ...more,
});

const solc = find("solc");
const plain = { compile: (input) => solc.compile(input), version: solc.version(), settings: settings() };
// Through Yul the vault is more than a quarter smaller and each payment 3 % cheaper. That takes 20 s: the variants do without, as they
// differ from the vault in what they do.
const throughYul = { ...plain, settings: settings({ viaIR: true }) };
const quick = { ...plain, settings: settings({ optimizer: { enabled: true, runs: 200, details: { yul: false } } }) };
// What USDT was compiled with is of this age.
const oldSolc = find("solc-old");
const old = {
  compile: (input) => oldSolc.compileStandardWrapper(input),
  version: oldSolc.version(),
  settings: { optimizer: { enabled: true, runs: 200 }, outputSelection: settings().outputSelection },
};

const SOURCES = [
  { file: "testnet/tron-devnet/contracts/TestUsdt.sol", contracts: ["TestUsdt"], by: plain },
  { file: "testnet/tron-devnet/contracts/Counter.sol", contracts: ["Counter"], by: plain },
  { file: "tron-bridge/contracts/PayoutVault.sol", contracts: ["PayoutVault"], by: throughYul, hash: true },
  { file: "tron-bridge/contracts/test/HostileToken.sol", contracts: ["HostileToken"], by: plain, forTests: true },
  { file: "tron-bridge/contracts/test/OldToken.sol", contracts: ["OldToken", "OldFalseToken"], by: old, forTests: true },
];

function find(name) {
  const compiler = require(name);
  const wanted = dependencies[name].replace(/^.*@/, "");
  if (!compiler.version().startsWith(`${wanted}+`)) {
    console.error(`${name} ${compiler.version()} is not ${wanted}`);
    process.exit(2);
  }
  return compiler;
}

// solc brings it along.
function keccak256(bytes) {
  return require(require.resolve("js-sha3", { paths: [path.dirname(require.resolve("solc"))] })).keccak256(bytes);
}

function compile(name, content, by) {
  const input = { language: "Solidity", sources: { [name]: { content } }, settings: by.settings };
  const output = JSON.parse(by.compile(JSON.stringify(input)));
  for (const error of output.errors ?? []) {
    // What a broken variant leaves unused is meant.
    if (error.severity === "error" || by !== quick) console.error(error.formattedMessage);
    if (error.severity === "error") process.exit(1);
  }
  return output.contracts[name];
}

function read(file) {
  return fs.readFileSync(path.join(ROOT, file), "utf8");
}

function build() {
  const files = {};
  for (const { file, contracts, by, hash, forTests } of SOURCES) {
    const compiled = compile(path.basename(file), read(file), by);
    for (const name of contracts) {
      const { abi, evm } = compiled[name];
      const deployed = evm.deployedBytecode.object;
      const json = {
        contractName: name,
        compiler: by.version,
        abi,
        bytecode: evm.bytecode.object,
        deployedBytecode: deployed,
        ...(hash && { codeHash: keccak256(Buffer.from(deployed, "hex")) }),
      };
      const target = path.join(path.dirname(file), name);
      if (!forTests) files[`${target}.json`] = Buffer.from(JSON.stringify(json, null, 1) + "\n");
      files[`${target}.bin`] = Buffer.from(evm.bytecode.object, "hex");
    }
  }
  return { ...files, ...variants("tron-bridge/contracts", "PayoutVault", quick) };
}

function variants(folder, name, by) {
  const source = read(`${folder}/${name}.sol`);
  const codes = [];
  let offset = 0;
  const list = require(path.join(ROOT, folder, "variants.js")).map(({ name: variant, edits, ...rest }) => {
    let broken = source;
    for (const [from, to] of edits) {
      if (broken.split(from).length !== 2) throw new Error(`${variant}: the source must have this once: ${from}`);
      broken = broken.replace(from, () => to);
    }
    const code = Buffer.from(compile(`${name}.sol`, broken, by)[name].evm.bytecode.object, "hex");
    codes.push(code);
    offset += code.length;
    return { name: variant, ...rest, offset: offset - code.length, length: code.length };
  });
  return {
    [`${folder}/variants.json`]: Buffer.from(JSON.stringify(list, null, 1) + "\n"),
    [`${folder}/variants.bin`]: Buffer.concat(codes),
  };
}

let failed = 0;
for (const [file, fresh] of Object.entries(build())) {
  const target = path.join(ROOT, file);
  if (process.argv.includes("--check")) {
    const same = fs.existsSync(target) && fs.readFileSync(target).equals(fresh);
    console.log(`${file}: ${same ? "matches its source" : "DIFFERS from its source"}`);
    failed += same ? 0 : 1;
  } else {
    fs.writeFileSync(target, fresh);
    console.log(`${file}: written`);
  }
}
process.exit(failed === 0 ? 0 : 1);
