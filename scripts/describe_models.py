"""Writes `backend/domain/model_catalogue/models.json`: LLaMA-Factory's own table of models and their templates.

    describe_models.py           writes the file
    describe_models.py --check   says whether the file is current, by its exit status

It imports LLaMA-Factory (and with it torch); the platform reads only what it wrote.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "backend" / "domain" / "model_catalogue" / "models.json"
HUBS = {"hf": "huggingface", "ms": "modelscope"}


def describe() -> dict[str, Any]:
    """Return the whole table, ready for JSON: one row a model, in LLaMA-Factory's order."""
    from llamafactory.data.template import TEMPLATES
    from llamafactory.extras.constants import DEFAULT_TEMPLATE, MULTIMODAL_SUPPORTED_MODELS, SUPPORTED_MODELS

    rows = []
    for name, sources in SUPPORTED_MODELS.items():
        template = DEFAULT_TEMPLATE.get(name)
        repos = {HUBS[source.value]: repo for source, repo in sources.items() if source.value in HUBS}
        plugin = TEMPLATES[template].mm_plugin if template else None
        rows.append(
            {
                "name": name,
                "template": template,
                "modalities": _list_modalities(plugin, name in MULTIMODAL_SUPPORTED_MODELS),
                "repos": repos,
            }
        )
    return {"llamafactory": importlib.metadata.version("llamafactory"), "models": rows}


def _list_modalities(plugin: Any, multimodal: bool) -> list[str]:
    """Return what a model's template can pass on to it; without one of its own nothing but text."""
    if not multimodal or plugin is None:
        return ["text"]
    tokens = {
        "image": plugin.image_token,
        "video": plugin.video_token,
        "audio": plugin.audio_token,
    }
    return ["text", *(kind for kind, token in tokens.items() if token is not None)]


def render() -> str:
    """Return the file's text: a model a line, so that a new version's changes can be read."""
    described = describe()
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in described["models"])
    version = json.dumps(described["llamafactory"])
    return f'{{"llamafactory": {version}, "models": [\n{rows}\n]}}\n'


def main() -> None:
    """Write the file, or compare it."""
    text = render()
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text("utf-8") != text:
            raise SystemExit(
                f"{TARGET.name} is not what the installed LLaMA-Factory has: run `make model-catalogue`"
            )
        return
    TARGET.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
