// tronweb, unchanged, against the network whose line of JSON is in DEVNET: prints one line of JSON for each step.
//
//   node main.mjs PART...
//
// The parts are the modules beside this one. The working directory must have node_modules and contracts.json. Exit code 1 if a
// step failed.

import { end } from "./steps.mjs";

// One after the other: modules that wait are otherwise evaluated side by side.
for (const part of process.argv.slice(2)) {
  await import(`./${part}.mjs`);
}
end();
