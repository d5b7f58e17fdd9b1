"""`python -m worker.demonstration`: makes the demonstration in TUNEFORGE_HOME; 0 when it is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from worker.demonstration.making import make_demonstration


def main() -> int:
    """Make the demonstration in the home that the environment names."""
    home = os.environ.get("TUNEFORGE_HOME")
    if not home:
        print("TUNEFORGE_HOME is not set: it names the folder to make the demonstration in.", file=sys.stderr)
        return 2
    # Threads that spin while they wait for one another starve on a machine that has other work; before torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    make_demonstration(Path(home).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
