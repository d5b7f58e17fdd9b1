"""Why a run ended: LLaMA-Factory's own last lines, as reference runs showed them."""

from __future__ import annotations

import pytest

from backend.domain.job import EndReason
from worker.endings import classify_failure, decide_ending

TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "x/llamafactory/train/tuner.py", line 149, in run_exp',
]
IN_PARSER = [
    *TRACEBACK,
    '  File "x/llamafactory/hparams/parser.py", line 375, in get_train_args',
    '  File "x/llamafactory/hparams/parser.py", line 200, in _verify_model_args',
]
TORCHRUN_AFTER = [
    "E1124 torch/distributed/elastic/multiprocessing/api.py:984] failed (exitcode: 1) local_rank: 0 of binary: python",
    "Traceback (most recent call last):",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    "worker.entry FAILED",
]

SAID = [
    ("ValueError: Undefined dataset X in dataset_info.json.", "bad_dataset"),
    ("ValueError: File data/nope.json not found.", "bad_dataset"),
    (
        "datasets.exceptions.DatasetGenerationError: An error occurred while generating the dataset",
        "bad_dataset",
    ),
    (
        "pyarrow.lib.ArrowInvalid: JSON parse error: Column() changed from object to array in row 0",
        "bad_dataset",
    ),
    ("KeyError: 'instruction'", "bad_dataset"),
    ("RuntimeError: Cannot find valid samples, check `data/README.md` for the data format.", "bad_dataset"),
    ("ValueError: The dataset is not applicable in the current training stage.", "bad_dataset"),
    ("ValueError: Allowed file types: arrow,csv,json,jsonl,parquet,txt.", "bad_dataset"),
    (
        "ValueError: The number of images does not match the number of <image> tokens in [...].",
        "bad_dataset",
    ),
    (
        "ValueError: This model does not support image input. Please check whether the correct template is used.",
        "bad_dataset",
    ),
    ("PIL.UnidentifiedImageError: cannot identify image file 'a.png'", "bad_dataset"),
    ("ValueError: Template nope does not exist.", "bad_config"),
    ("TypeError: '<=' not supported between instances of 'float' and 'str'", "bad_config"),
    ("OSError: Failed to load tokenizer.", "bad_config"),
    ("ImportError: deepspeed is required. To fix: run `pip install deepspeed`.", "bad_config"),
    ("ValueError: Some keys are not used by the HfArgumentParser: ['learning_rat']", "bad_config"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "out_of_memory"),
    (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory",
        "out_of_memory",
    ),
    ("MemoryError", "out_of_memory"),
    ("OSError: [Errno 28] No space left on device", "disk_full"),
    (
        "RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0",
        "disk_full",
    ),
    ("ZeroDivisionError: division by zero", "crashed"),
    ("KeyError: 'a key of somebody'", "crashed"),
]


@pytest.mark.parametrize(("line", "reason"), SAID)
@pytest.mark.parametrize("after", [[], TORCHRUN_AFTER], ids=["alone", "torchrun"])
def test_the_error_decides_and_is_told(line: str, reason: str, after: list[str]) -> None:
    ending = classify_failure(1, [*TRACEBACK, line, *after], killed_for_memory=False)
    assert (ending.reason, ending.detail) == (reason, line)


def test_a_rank_says_which_it_is_before_its_error() -> None:
    lines = [
        "[rank1]: Traceback (most recent call last):",
        "[rank1]: ValueError: Template nope does not exist.",
    ]
    ending = classify_failure(1, lines, killed_for_memory=False)
    assert (ending.reason, ending.detail) == ("bad_config", "ValueError: Template nope does not exist.")


def test_the_rank_that_failed_first_decides() -> None:
    lines = [
        "[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "[rank0]: RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1234",
    ]
    ending = classify_failure(1, [*lines, *TORCHRUN_AFTER], killed_for_memory=False)
    assert (ending.reason, ending.detail) == ("out_of_memory", lines[0].removeprefix("[rank1]: "))


def test_an_error_out_of_the_parser_is_one_of_the_settings() -> None:
    line = "ValueError: `quantization_bit` may only be set for LoRA."
    assert classify_failure(1, [*IN_PARSER, line], killed_for_memory=False).reason == "bad_config"
    assert classify_failure(1, [*TRACEBACK, line], killed_for_memory=False).reason == "crashed"


def test_words_in_the_log_are_no_errors() -> None:
    lines = ["the picture shows: out of memory lane", "Undefined dataset is what the text is about"]
    ending = classify_failure(1, [*lines, *TRACEBACK, "ZeroDivisionError: no"], killed_for_memory=False)
    assert ending.reason is EndReason.CRASHED


@pytest.mark.parametrize(
    ("code", "killed_for_memory", "reason"),
    [(-9, True, "out_of_memory"), (-9, False, "internal_error"), (137, True, "out_of_memory"), (-11, False, "crashed"),
     (127, False, "crashed")],
)  # fmt: skip
def test_a_run_that_says_nothing_is_judged_by_its_code(
    code: int, killed_for_memory: bool, reason: str
) -> None:
    ending = classify_failure(code, ["step 3"], killed_for_memory=killed_for_memory)
    assert ending.reason == reason
    assert ending.detail


DECISIONS = [
    # exit code, wish, killed, stopped, results, disk full -> reason
    (0, None, False, False, True, False, "completed"),
    (0, None, False, False, False, False, "crashed"),
    (0, "user_cancelled", False, True, True, False, "user_cancelled"),
    (0, "user_cancelled", False, False, True, False, "completed"),  # the wish came after the last step
    (1, "user_cancelled", False, False, False, False, "user_cancelled"),
    (-9, "preempted", True, False, False, False, "preempted"),
    (-9, "log_limit", True, False, False, False, "log_limit"),
    (None, None, False, False, False, False, "node_lost"),
    (None, None, False, False, True, False, "completed"),
    (None, "node_stopped", False, True, True, False, "node_stopped"),
    (1, None, False, False, False, True, "disk_full"),
]


@pytest.mark.parametrize(("code", "wish", "killed", "stopped", "results", "full", "reason"), DECISIONS)
def test_what_was_asked_and_what_was_left_decide(
    code: int | None, wish: str | None, killed: bool, stopped: bool, results: bool, full: bool, reason: str
) -> None:
    ending = decide_ending(
        exit_code=code,
        wish=EndReason(wish) if wish else None,
        was_killed=killed,
        stopped_on_request=stopped,
        has_results=results,
        lines=[],
        killed_for_memory=False,
        disk_is_full=full,
    )
    assert ending.reason == reason


def test_a_run_killed_from_outside_is_not_judged_by_warnings_it_ran_with() -> None:
    lines = ["[WARNING] sdpa attention does not support `output_attentions=True`.", "step 23"]
    assert classify_failure(-9, lines, killed_for_memory=False).reason == "internal_error"
    assert classify_failure(2, lines, killed_for_memory=False).reason == "bad_config"
    assert classify_failure(-9, ["CUDA out of memory."], killed_for_memory=False).reason == "out_of_memory"
