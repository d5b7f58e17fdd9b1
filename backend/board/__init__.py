"""SwanLab's own dashboard for one job, with no internet, behind a gate.

`gate` says what may pass and rewrites what comes back (pure); `merge` gathers a job's attempts into one folder
that a board can show; `keeper` starts and ends the boards; `serve` is the process that one board runs in.
"""

from backend.board.gate import BoardAnswer
from backend.board.keeper import BoardKeeper, serve_board

__all__ = ["BoardAnswer", "BoardKeeper", "serve_board"]
