"""tronpy, unchanged, against the network whose line of JSON is in DEVNET: prints one line of JSON for each step.

    main.py PART...

The parts are the modules beside this one; their steps run when they are read. The working directory must have contracts.json.
Exit code 1 if a step failed.
"""

import importlib
import sys

from harness import failures

for part in sys.argv[1:]:
    importlib.import_module(part)
sys.exit(1 if failures() else 0)
