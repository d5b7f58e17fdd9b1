"""Prints what LLaMA-Factory's templates make of a conversation: a line of JSON each, (name, [(text, learnt)])."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

from llamafactory.data.template import TEMPLATES

EOS, BOS = "‹eos_token›", "‹bos_token›"


class Letters:
    """A tokenizer whose tokens are texts, so that what is encoded can be read."""

    eos_token, bos_token = EOS, BOS
    eos_token_id, bos_token_id = EOS, BOS

    def encode(self, text: str, add_special_tokens: bool = False) -> list[str]:
        return [text]

    def convert_tokens_to_ids(self, token: str) -> str:
        return token


def main(messages: list[dict[str, Any]], system: str) -> None:
    """Print them."""
    for name, template in TEMPLATES.items():
        tokenizer = Letters()
        if template.replace_eos and template.stop_words:
            tokenizer = SimpleNamespace(  # type: ignore[assignment]
                encode=Letters().encode,
                convert_tokens_to_ids=Letters().convert_tokens_to_ids,
                eos_token_id=template.stop_words[0],
                bos_token_id=BOS,
            )
        pairs = template.encode_multiturn(tokenizer, messages, system, "")
        segments = [
            ["".join(part), learnt]
            for pair in pairs
            for part, learnt in zip(pair, (False, True), strict=True)
        ]
        if template.efficient_eos:
            segments.append([tokenizer.eos_token_id, True])
        print(json.dumps([name, segments]))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
