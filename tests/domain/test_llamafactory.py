"""The YAML of a run: whole, free of secrets, read by LLaMA-Factory as it was meant, and runnable as it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from backend.domain.arguments import build_defaults, list_arguments
from backend.domain.llamafactory import build_evaluate_config, build_train_config, dump_yaml

ROOT = Path(__file__).resolve().parents[2]


def build_train(finetuning_type: str = "lora", device: str = "cpu", **changed: Any) -> dict[str, Any]:
    args = build_defaults(kind="train", stage="sft", finetuning_type=finetuning_type, device=device)
    job: dict[str, Any] = {
        "args": args | changed.pop("args", {}),
        "template": "qwen",
        "datasets": ["tiny", "other"],
        "stage": "sft",
        "finetuning_type": finetuning_type,
        "tracking_mode": "off",
        "run_name": "a run",
        "device": device,
    }
    return build_train_config(**(job | changed))


def build_evaluate(finetuning_type: str = "lora", has_adapter: bool = True) -> dict[str, Any]:
    args = build_defaults(kind="evaluate", stage="sft", finetuning_type=finetuning_type, device="cpu")
    return build_evaluate_config(
        args=args | {"max_new_tokens": 4},
        template="qwen",
        datasets=["tiny"],
        finetuning_type=finetuning_type,
        has_adapter=has_adapter,
        device="cpu",
    )


def read_as_llamafactory(text: str, folder: Path) -> Any:
    """Read YAML as its command line does."""
    file = folder / "train.yaml"
    file.write_text(text, encoding="utf-8")
    return OmegaConf.to_container(OmegaConf.merge(OmegaConf.load(file), OmegaConf.from_cli([])))


@pytest.mark.parametrize("config", [build_train(device="cuda"), build_train("freeze"), build_evaluate()])
def test_llamafactory_reads_what_was_meant(config: dict[str, Any], tmp_path: Path) -> None:
    assert read_as_llamafactory(dump_yaml(config), tmp_path) == config


TEXTS = [
    "1e5", "5e-5", "1_000", "no", "null", "~", ".5", "0x1f", "12:30", "2026-01-01", "=", "a: b", "# no comment",
    "- a", "{a}", "'q'", '"', "\\", "multi\nline\n", "tab\t", "\u0085", "\u2028", "\x1b[0m", "???", "你好 😀", "",
    "x" * 3000, "a  b", " lead", "%TAG", "@x", "!!python/object:os.system", "&a", "*a", "<<", "nan", ".inf", "True",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_text(text: str, tmp_path: Path) -> None:
    config = build_train(args={"default_system": text, "lr_scheduler_kwargs": {text: text}})
    assert read_as_llamafactory(dump_yaml(config), tmp_path) == config


@pytest.mark.parametrize("name", ["${oc.env:HOME}", "${ broken", "1e5", "true", "名字: x"])
def test_a_jobs_name_may_be_anything(name: str, tmp_path: Path) -> None:
    config = build_train(tracking_mode="local", run_name=name)
    read = read_as_llamafactory(dump_yaml(config), tmp_path)["swanlab_run_name"]
    assert read == name.replace("${", "$ {")


def test_the_order_is_always_the_same() -> None:
    config = build_train(device="cuda", tracking_mode="cloud", media_dir="data/tiny")
    backwards = dict(reversed(config.items()))
    assert dump_yaml(config) == dump_yaml(backwards)
    assert dump_yaml(config).startswith("### model\nmodel_name_or_path: model\n")


def test_every_argument_has_its_place() -> None:
    args = {one["name"]: one["default"] for one in list_arguments()}
    text = dump_yaml(build_train(args=args))
    assert [name for name in args if f"\n{name}:" not in text] == []


def test_arguments_cannot_overrule_the_platform() -> None:
    config = build_train(args={"output_dir": "/etc", "report_to": "all", "use_swanlab": True, "dataset": "x"})
    assert (config["output_dir"], config["report_to"], config["use_swanlab"]) == ("output", "none", False)
    assert config["dataset"] == "tiny,other"


@pytest.mark.parametrize("mode", ["cloud", "local", "off"])
def test_tracking(mode: str) -> None:
    config = build_train(tracking_mode=mode)
    assert config["report_to"] == "none"
    assert config["use_swanlab"] is (mode != "off")
    assert config.get("swanlab_mode", "off") == mode
    assert not any("key" in name or "token" in name.split("_") for name in config)


def test_paths_are_the_attempts_own() -> None:
    for config in (build_train(media_dir="data/tiny"), build_evaluate()):
        paths = [config[name] for name in ("model_name_or_path", "dataset_dir", "output_dir")]
        assert paths == ["model", "data", "output"]
        assert not any(
            isinstance(value, str) and value.startswith(("/", "..", "~")) for value in config.values()
        )
    assert build_evaluate()["adapter_name_or_path"] == "adapter"
    assert "adapter_name_or_path" not in build_evaluate(has_adapter=False)


def test_a_cpu_is_asked_for_by_name() -> None:
    config = build_train()
    assert (config["use_cpu"], config["bf16"]) == (True, False)
    assert "use_cpu" not in build_train(device="cuda")


# -- for real ----------------------------------------------------------------------------------------------


def prepare_folder(folder: Path, model: Path, config: dict[str, Any]) -> None:
    """Lay out an attempt's folder as the worker does."""
    (folder / "data").mkdir(parents=True)
    rows = [{"instruction": f"count {n}", "input": "", "output": f"{n} {n + 1} {n + 2}"} for n in range(16)]
    (folder / "data" / "rows.json").write_text(json.dumps(rows))
    info = {name: {"file_name": "rows.json"} for name in ("tiny", "other")}
    (folder / "data" / "dataset_info.json").write_text(json.dumps(info))
    (folder / "model").symlink_to(model)
    (folder / "train.yaml").write_text(dump_yaml(config), encoding="utf-8")


def run_cli(folder: Path) -> str:
    """Run `llamafactory-cli train train.yaml` in the folder; return its output, which must be a success's."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "SWANLAB_CONFIG_DIR": "/nonexistent",
    }
    command = [str(Path(sys.executable).parent / "llamafactory-cli"), "train", "train.yaml"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    script = ROOT / "tests" / "swanlab" / "make_tiny_model.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, cwd=ROOT, timeout=120)
    return folder


SHORT = {"cutoff_len": 64, "num_train_epochs": 1, "gradient_accumulation_steps": 2, "logging_steps": 1}


@pytest.mark.real
def test_the_yaml_runs_as_it_stands(model: Path, tmp_path: Path) -> None:
    for finetuning_type in ("lora", "freeze", "full"):
        folder = tmp_path / finetuning_type
        args = SHORT | ({"freeze_trainable_layers": 1} if finetuning_type == "freeze" else {})
        config = build_train(finetuning_type, args=args, tracking_mode="local", run_name="1e5")
        prepare_folder(folder, model, config)
        output = run_cli(folder)
        assert "deprecated and will be removed" not in output
        assert json.loads((folder / "output" / "train_results.json").read_text())["train_loss"] > 0
        assert (folder / "output" / "training_loss.png").is_file()
        assert any((folder / "swanlog").iterdir())
        first = json.loads((folder / "output" / "trainer_log.jsonl").read_text().splitlines()[0])
        assert first["total_tokens"] > 0

    folder = tmp_path / "evaluate"
    prepare_folder(folder, model, build_evaluate())
    (folder / "adapter").symlink_to(tmp_path / "lora" / "output")
    run_cli(folder)
    results = json.loads((folder / "output" / "predict_results.json").read_text())
    assert {"predict_bleu-4", "predict_rouge-l"} <= set(results)
    assert len((folder / "output" / "generated_predictions.jsonl").read_text().splitlines()) == 16
