"""What a run starts: LLaMA-Factory's own `run_exp` on `train.yaml`, with one callback and guarded tracking."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

from worker.tracking import finish_tracking, install_tracking


def main() -> None:
    """Run `train.yaml` of the working folder; leaves by LLaMA-Factory's own errors and exit code."""
    sys.stdout, sys.stderr = open_forgiving(1), open_forgiving(2)
    import torch
    from llamafactory.train.tuner import run_exp

    from worker.picture_tokens import give_picture_tokens_to_generate
    from worker.run_callback import RunCallback

    allow_cpu_tags(torch)
    give_picture_tokens_to_generate()
    install_tracking({"mode": os.environ.get("TUNEFORGE_TRACKING", "off")})
    error: str | None = "the run failed"
    try:
        run_exp(callbacks=[RunCallback()])
        error = None
    finally:
        finish_tracking(error)
    # Everything is on disk. The interpreter's own end would wait for the tracker's threads if they still write,
    # and takes torch's threads apart under them, which now and then aborts a rank whose work is done.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class ForgivingFile(io.FileIO):
    """A file that a full disk does not fail: a run must not be lost to a line of its log."""

    def write(self, data: Any, /) -> int:
        """Write what there is room for; what there is none for is lost."""
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return memoryview(data).nbytes
            raise


def open_forgiving(descriptor: int) -> io.TextIOWrapper:
    """Return an unbuffered text stream on an inherited descriptor."""
    raw: Any = ForgivingFile(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)


def allow_cpu_tags(torch: object) -> None:
    """Have torch load tensors tagged `cpu:0`, as ranks on a CPU save them and then refuse to load."""
    serialization = torch.serialization  # type: ignore[attr-defined]
    serialization.register_package(
        5,
        lambda storage: None,
        lambda storage, location: storage if location.startswith("cpu:") else None,
    )


if __name__ == "__main__":
    main()
