"""Checkpoints: half-written ones are recognised, whole ones are linked into the next attempt."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.fake_trainer import build_safetensors, save_checkpoint
from worker.checkpoints import find_whole_checkpoint, is_safetensors_whole, is_whole, link_checkpoints

Fault = Callable[[Path], None]


def cut(name: str, size: int) -> Fault:
    """Return the fault that leaves only `size` bytes of a file (from its end, when negative)."""

    def fault(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:size])

    return fault


def remove(name: str) -> Fault:
    """Return the fault that a file was never written."""
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Fault:
    """Return the fault that a file holds something else."""

    def fault(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return fault


FAULTS: dict[str, Fault] = {
    "no weights": remove("adapter_model.safetensors"),
    "weights cut short": cut("adapter_model.safetensors", -1),
    "weights empty": cut("adapter_model.safetensors", 0),
    "weights cut in the header": cut("adapter_model.safetensors", 20),
    "weights with a monstrous header": write("adapter_model.safetensors", b"\xff" * 64),
    "no optimizer": remove("optimizer.pt"),
    "optimizer cut short": cut("optimizer.pt", -10),
    "scheduler empty": cut("scheduler.pt", 0),
    "a rank's random state cut short": cut("rng_state.pth", 40),
    "no trainer state": remove("trainer_state.json"),
    "trainer state cut short": cut("trainer_state.json", -1),
    "trainer state of another step": write("trainer_state.json", b'{"global_step": 7}'),
    "trainer state that is a list": write("trainer_state.json", b"[]"),
    "a shard that its index names is not there": write(
        "model.safetensors.index.json", b'{"weight_map": {"a": "model-00002-of-00002.safetensors"}}'
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_half_written_checkpoint_is_skipped_for_the_one_before(tmp_path: Path, fault: Fault) -> None:
    older, newer = save_checkpoint(5, tmp_path), save_checkpoint(10, tmp_path)
    assert find_whole_checkpoint(tmp_path) == (10, newer)
    fault(newer)
    assert not is_whole(newer)
    assert find_whole_checkpoint(tmp_path) == (5, older)


def test_every_cut_of_a_safetensors_file_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    content = build_safetensors()
    file.write_bytes(content)
    assert is_safetensors_whole(file)
    for size in range(len(content)):
        file.write_bytes(content[:size])
        assert not is_safetensors_whole(file), size
    file.write_bytes(content + b"\0")
    assert not is_safetensors_whole(file)


def test_deepspeeds_and_fsdps_own_layouts_count(tmp_path: Path) -> None:
    deepspeed = save_checkpoint(3, tmp_path)
    shards = deepspeed / "global_step3"
    shards.mkdir()
    (deepspeed / "optimizer.pt").rename(shards / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    assert not is_whole(deepspeed)
    (deepspeed / "latest").write_text("global_step3")
    assert is_whole(deepspeed)
    fsdp = save_checkpoint(4, tmp_path)
    for name in ("optimizer.pt", "adapter_model.safetensors"):
        (fsdp / name).unlink()
    assert not is_whole(fsdp)
    (fsdp / "optimizer_0").mkdir()
    (fsdp / "optimizer_0" / ".metadata").write_bytes(b"x")
    assert is_whole(fsdp)


def test_links_share_the_weights_and_bring_the_best_checkpoint_along(tmp_path: Path) -> None:
    earlier, fresh = tmp_path / "earlier", tmp_path / "fresh"
    fresh.mkdir()
    for step in (5, 10, 15):
        save_checkpoint(step, earlier)
    state = {"global_step": 15, "best_model_checkpoint": "output/checkpoint-5"}
    (earlier / "checkpoint-15" / "trainer_state.json").write_text(json.dumps(state))
    link_checkpoints(earlier, 15, fresh)
    assert sorted(path.name for path in fresh.iterdir()) == ["checkpoint-15", "checkpoint-5"]
    name = "checkpoint-15/adapter_model.safetensors"
    assert os.path.samefile(earlier / name, fresh / name)
    assert find_whole_checkpoint(fresh) == (15, fresh / "checkpoint-15")


def test_a_link_in_a_checkpoint_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    (save_checkpoint(2, tmp_path / "earlier") / "notes.txt").symlink_to(secret)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    link_checkpoints(tmp_path / "earlier", 2, fresh)
    assert (fresh / "checkpoint-2" / "notes.txt").is_symlink()


def test_a_link_posing_as_a_checkpoint_is_none(tmp_path: Path) -> None:
    real = save_checkpoint(9, tmp_path / "elsewhere")
    output = tmp_path / "output"
    output.mkdir()
    (output / "checkpoint-9").symlink_to(real)
    assert find_whole_checkpoint(output) is None
    assert find_whole_checkpoint(tmp_path / "absent") is None
