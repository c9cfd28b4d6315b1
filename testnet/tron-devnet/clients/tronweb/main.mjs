// tronweb, unchanged, against the network whose line of JSON is in DEVNET: prints one line of JSON for each step.
//
// The working directory must have node_modules and contracts.json. Exit code 1 if a step failed.

import { end } from "./harness.mjs";

// One after the other: modules that wait are otherwise evaluated side by side.
for (const part of ["conformance", "reading", "contracts", "staking"]) {
  await import(`./${part}.mjs`);
}
end();
