"""tronpy, unchanged, against the network whose line of JSON is in DEVNET: prints one line of JSON for each step.

The working directory must have contracts.json. Exit code 1 if a step failed.
"""

import sys

import conformance  # noqa: F401  the steps run when they are read
import reading  # noqa: F401
import staking  # noqa: F401
from harness import failures

sys.exit(1 if failures() else 0)
