"""The fake hub is believed by the hubs' own clients: they get from it what our way of fetching gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hubs.conftest import DATASET, MODEL, FakeHub

_PROGRAMS = {
    "huggingface": "from huggingface_hub import snapshot_download as get",
    "modelscope": "from modelscope import snapshot_download as get",
}


@pytest.mark.parametrize("name", sorted(_PROGRAMS))
@pytest.mark.parametrize(
    ("kind", "repo", "file"), [("model", MODEL, "model.safetensors"), ("dataset", DATASET, "data.json")]
)
def test_the_real_client_downloads_from_the_fake(
    hub: FakeHub, tmp_path: Path, name: str, kind: str, repo: str, file: str
) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1",
        "MODELSCOPE_ENDPOINT": hub.url, "MODELSCOPE_CACHE": str(tmp_path / "ms"),
    }  # fmt: skip
    program = f"{_PROGRAMS[name]}; get({repo!r}, repo_type={kind!r}, local_dir={str(tmp_path / 'got')!r})"
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    for path in (hub.root / f"{kind}s" / repo).iterdir():
        assert (tmp_path / "got" / path.name).read_bytes() == path.read_bytes(), path.name
    assert [one for one in hub.list_requests() if file in one["path"] and one["method"] == "GET"]
