"""Why a run ended, read from its exit code and the last lines of its log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backend.domain.job import EndReason


@dataclass(frozen=True)
class Ending:
    """Why, and the line that tells."""

    reason: EndReason
    detail: str = ""


_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|^MemoryError|DefaultCPUAllocator: can't allocate"
    r"|Unable to allocate [\d.]+ [KMGT]?i?B|cannot allocate memory",
    re.IGNORECASE,
)
_DISK = re.compile(
    r"No space left on device|Disk quota exceeded|file write failed|enforce fail at inline_container"
)
_DATASET = re.compile(
    r"Undefined dataset|File \S+ not found|DatasetGenerationError|ArrowInvalid|Cannot find valid samples"
    r"|dataset is not applicable in the current training stage|Allowed file types:"
    r"|The number of (?:images|videos|audios) does not match|does not support (?:image|video|audio) input"
    r"|cannot identify image file|UnidentifiedImageError|Image file is truncated|image file is truncated"
    r"|Found .*(?:image|video|audio).* but|Invalid role tag|Empty dataset"
)
# A key of a row that the dataset's description names and the file has not.
_MISSING_COLUMN = re.compile(
    r"KeyError: '(?:instruction|input|output|conversations|messages|from|value|role|content|images|videos|audios"
    r"|prompt|query|response|chosen|rejected|kto_tag|system|tools|text)'"
)
_CONFIG = re.compile(
    r"Some keys are not used by the HfArgumentParser|Template \S+ does not exist|Failed to load tokenizer"
    r"|To fix: (?:run )?`?pip install|Please install|Please specify|Unknown (?:task|optimizer|scheduler)"
    r"|Target modules .* not found|is not a valid (?:\w+), please select one of|resume_from_checkpoint"
    r"|not supported between instances of|cannot be used (?:with|together)|is (?:only )?(?:incompatible|not compatible)"
    r"|(?:does not|doesn't|not) support(?:ed)? "
)
# What a run says whose processes on another node are gone. NCCL's words are those of torch 2's process groups.
_LOST_PEER = re.compile(
    r"Connection (?:closed by peer|reset by peer|refused)|Broken pipe|Rendezvous\w*Error|Socket Timeout"
    r"|remote process exited or there was a network error|NCCL communicator was aborted|failed to (?:recv|connect)"
    r"|Timed out waiting \d+ms for (?:recv|send)|wait timeout after|EADDRINUSE|DistNetworkError"
)
_SIGNS = (
    (EndReason.DISK_FULL, _DISK),
    (EndReason.OUT_OF_MEMORY, _MEMORY),
    (EndReason.BAD_DATASET, _DATASET),
    (EndReason.BAD_DATASET, _MISSING_COLUMN),
    (EndReason.BAD_CONFIG, _CONFIG),
)
_ERROR_LINE = re.compile(
    r"^(?:\[rank\d+\]: *)?((?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Invalid|Interrupt)\b.*)"
)
_IN_PARSER = re.compile(r'llamafactory/hparams/|hf_argparser\.py|transformers/training_args\.py"')
_OF_TORCHRUN = re.compile(r"ChildFailedError|SignalException|CalledProcessError")


def decide_ending(
    *,
    exit_code: int | None,
    wish: EndReason | None,
    was_killed: bool,
    stopped_on_request: bool,
    has_results: bool,
    lines: Sequence[str],
    killed_for_memory: bool,
    disk_is_full: bool,
    has_peers: bool = False,
) -> Ending:
    """Return why a run ended. A code of 0 alone says little: a run that was asked to stop leaves with it too.

    `exit_code` is None when nobody saw the run end; `wish` is why it was asked to, `was_killed` that it had to
    be made to; `has_peers` that other nodes worked on the same.
    """
    if wish is not None and (was_killed or stopped_on_request or exit_code != 0):
        return Ending(wish)
    if has_results and exit_code in (0, None):
        return Ending(EndReason.COMPLETED)
    if exit_code is None:
        return Ending(EndReason.NODE_LOST, "The run's processes vanished, as when the machine is restarted.")
    if exit_code == 0:
        return Ending(EndReason.CRASHED, "The run left with code 0 but without results.")
    ending = classify_failure(exit_code, lines, killed_for_memory=killed_for_memory, has_peers=has_peers)
    if disk_is_full and ending.reason is EndReason.CRASHED:
        # With no room left, not even the log could say so.
        return Ending(EndReason.DISK_FULL, ending.detail)
    return ending


def classify_failure(
    exit_code: int, lines: Sequence[str], *, killed_for_memory: bool, has_peers: bool = False
) -> Ending:
    """Return why a run that was not asked to end ended with `exit_code` (negative: the signal).

    `lines` are the last of its log; `killed_for_memory` that the kernel killed for want of memory meanwhile.
    """
    errors = list_errors(lines)
    telling = errors[-1] if errors else ""
    # One rank's error is followed by those of the others, who lost it: each is asked. Only a run that names
    # no error at all is judged by its other lines; and one that was killed has no say on its settings or data
    # then: what its lines hold of these are warnings, with which it ran well.
    signs: tuple[tuple[EndReason, re.Pattern[str]], ...]
    signs = (*_SIGNS, (EndReason.NODE_LOST, _LOST_PEER)) if has_peers else _SIGNS
    if not errors and exit_code in (-9, 137):
        signs = tuple(sign for sign in signs if sign[0] not in (EndReason.BAD_CONFIG, EndReason.BAD_DATASET))
    for reason, pattern in signs:
        for line in reversed(errors or lines):
            if pattern.search(line):
                return Ending(reason, line)
    if exit_code in (-9, 137) and killed_for_memory:
        return Ending(
            EndReason.OUT_OF_MEMORY, "The system killed the run because the machine's memory was full."
        )
    if exit_code in (-9, 137):
        return Ending(EndReason.INTERNAL_ERROR, "The run was killed from outside (SIGKILL).")
    if telling and _was_raised_in_parser(lines):
        return Ending(EndReason.BAD_CONFIG, telling)
    return Ending(EndReason.CRASHED, telling or _describe_exit(exit_code))


def list_errors(lines: Sequence[str]) -> list[str]:
    """Return the lines that name an error of the run itself; torchrun's about it only if there is no other."""
    found = [match.group(1) for line in lines if (match := _ERROR_LINE.match(line.strip()))]
    return [line for line in found if not _OF_TORCHRUN.search(line)] or found


def _was_raised_in_parser(lines: Sequence[str]) -> bool:
    """Whether the traceback's innermost frames are those of reading the settings."""
    frames = [line for line in lines if line.strip().startswith('File "')]
    return any(_IN_PARSER.search(frame) for frame in frames[-2:])


def _describe_exit(exit_code: int) -> str:
    return (
        f"The run was ended by signal {-exit_code}."
        if exit_code < 0
        else f"The run left with code {exit_code}."
    )
