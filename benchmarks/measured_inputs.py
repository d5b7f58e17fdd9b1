"""What the measured runs are given: a tokenizer, a model's folder without its weights, and synthetic data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
SPECIAL_TOKENS += ["<|image_pad|>", "<|video_pad|>"]
TINY = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
TINY |= {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": 2048}


def make_tokenizer(folder: Path) -> Any:
    """Return a byte-level BPE of 500 entries with Qwen's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([_write_text(400, seed) for seed in range(20)], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL_TOKENS[2],
        pad_token=SPECIAL_TOKENS[0],
        model_max_length=131072,
    )
    made.save_pretrained(folder)
    return made


def _write_text(words: int, seed: int) -> str:
    """Return words without meaning, the same for the same seed."""
    state, found = seed * 7919 + 1, []
    syllables = ["ka", "ro", "mi", "tel", "sun", "vo", "der", "pa", "li", "quo", "ne", "ster"]
    for _ in range(words):
        state = (state * 1103515245 + 12345) % 2**31
        found.append("".join(syllables[(state >> shift) % len(syllables)] for shift in (4, 9, 14)))
    return " ".join(found)


def make_model_folder(
    config_facts: dict[str, Any], folder: Path, tokenizer: Any, *, tiny: bool, on_cpu: bool
) -> None:
    """Write config.json, tokenizer and processor of a shape."""
    from transformers import AutoConfig

    facts = dict(config_facts)
    vision = facts.pop("vision_config", None)
    model_type = facts.pop("model_type")
    if tiny:
        facts |= TINY
    common = {"max_position_embeddings": 32768, "eos_token_id": 2, "pad_token_id": 0, "bos_token_id": 0}
    facts |= common | {"dtype": "float32" if on_cpu else "bfloat16"}
    tokenizer.save_pretrained(folder)
    if vision is None:
        config = AutoConfig.for_model(model_type, **facts)
    else:
        config = _make_vision_config(facts, vision, tokenizer, tiny=tiny)
        _make_processor(folder, tokenizer)
    config.save_pretrained(folder)


def _make_vision_config(facts: dict[str, Any], vision: dict[str, Any], tokenizer: Any, *, tiny: bool) -> Any:
    from transformers import Qwen2_5_VLConfig

    if tiny:
        vision = vision | {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4}
        vision |= {"out_hidden_size": facts["hidden_size"], "fullatt_block_indexes": [1]}
    half = facts["head_dim"] // 2
    sections = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    rope = {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": sections}
    ids = {
        f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>") for kind in ("image", "video")
    }
    return Qwen2_5_VLConfig(
        text_config=facts | {"rope_parameters": rope},
        vision_config=vision,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=facts["tie_word_embeddings"],
        dtype=facts["dtype"],
        **ids,
    )


def _make_processor(folder: Path, tokenizer: Any) -> None:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    size = {"shortest_edge": 56 * 56, "longest_edge": 12845056}
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=dict(size)),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=dict(size)),
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
    ).save_pretrained(folder)


def make_data(case: dict[str, Any], folder: Path) -> None:
    """Write one dataset `data` of as many examples as the case's steps take, and its dataset_info.json."""
    folder.mkdir()
    batch = case["per_device_train_batch_size"] * case["gradient_accumulation_steps"]
    count = batch * case["steps"]
    words = case["cutoff_len"]
    info: dict[str, Any] = {"file_name": "data.json"}
    if case["data"] == "pref":
        info |= {"ranking": True}
        info["columns"] = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
        rows: list[dict[str, Any]] = [
            {"instruction": "Say", "chosen": _write_text(words, n), "rejected": _write_text(words, n + 9999)}
            for n in range(count)
        ]
    elif case["data"] == "image":
        info |= {"formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"}}
        info["tags"] = {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        }
        from worker.calibration import make_picture

        names = [f"{n}.jpg" for n in range(min(count, 6))]
        for n, name in enumerate(names):
            (folder / name).write_bytes(make_picture(n))
        rows = [_make_picture_row(names[n % len(names)], n) for n in range(count)]
    else:
        info["columns"] = {"prompt": "instruction", "response": "output"}
        rows = [{"instruction": "Say", "output": _write_text(words, n)} for n in range(count)]
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"data": info}), encoding="utf-8")


def _make_picture_row(name: str, seed: int) -> dict[str, Any]:
    question = {"role": "user", "content": f"<image>{_write_text(6, seed)}?"}
    answer = {"role": "assistant", "content": _write_text(7, seed + 500)}
    return {"messages": [question, answer], "images": [name]}


def write_weights(folder: Path, *, has_pictures: bool) -> int:
    """Write random weights for a model's folder, made on the GPU; return how many numbers there are."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.initialization import no_init_weights

    kind = AutoModelForImageTextToText if has_pictures else AutoModelForCausalLM
    with no_init_weights(), torch.device("cuda"):
        model = kind.from_config(AutoConfig.from_pretrained(folder), dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02) if parameter.ndim > 1 else parameter.fill_(1.0)
    model.tie_weights()
    model.save_pretrained(folder, max_shard_size="4GB")
    return sum(parameter.numel() for parameter in model.parameters())
