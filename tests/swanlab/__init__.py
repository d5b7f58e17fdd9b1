"""SwanLab: keys, tracking of real runs, and the board behind the gate."""
