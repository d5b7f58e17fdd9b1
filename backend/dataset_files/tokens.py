"""How many tokens rows are, as LLaMA-Factory would make of them with a model's own tokenizer; no model is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.domain.datasets.conversation import Conversation, Message
from backend.domain.datasets.rendering import BOS, EOS, get_template, write_turns
from backend.tokenizer_files import TOKENIZER_FILE, TokenizerSettings

_LONGEST_PIECE = 1 << 17
"""Longer texts are cut for counting, which may add a token at each cut."""


class BadTokenizer(Exception):
    """A model's tokenizer cannot be used; the text says why."""


@dataclass(frozen=True)
class RowLength:
    """A row in tokens: all of it, of these the answer's and the pictures'. `exact` is false where LLaMA-Factory may
    count a few more or less: videos and sounds, other models' pictures, rare formats of tools."""

    total: int
    label: int
    pictures: int
    exact: bool


@dataclass
class _Pieces:
    """A row's pieces that are read and those that are learnt, and what is known of its length without them."""

    read: list[str]
    learnt: list[str]
    pictures: int
    exact: bool


class RowCounter:
    """Counts rows as LLaMA-Factory tokenizes them in a stage, with the tokenizer in a model's folder."""

    def __init__(self, folder: Path, template: str, stage: str) -> None:
        """Load the tokenizer; raises BadTokenizer."""
        from tokenizers import Tokenizer  # its threads are not for the web process, which only reads pages

        self._settings, self._stage, self._name = TokenizerSettings(folder), stage, template
        try:
            self._template = get_template(template)
            self._tokenizer: Any = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        except BaseException as error:
            raise _explain(error) from error
        self._eos = self._template["eos"] or self._settings.eos or "<|endoftext|>"
        self._tokenizer.add_special_tokens([self._eos, *self._template["stop_words"]])
        is_known = self._template["picture_rule"] == "qwen" and self._settings.is_qwen
        self._picture, self._picture_exact = self._template["picture"], is_known

    def count(self, rows: list[tuple[Conversation, list[tuple[int, int]]]]) -> list[RowLength]:
        """Return the length of each row, given with the sizes of its pictures; raises BadTokenizer."""
        made = [list(self._list_answers(talk, sizes)) for talk, sizes in rows]
        texts = {text for answers in made for one in answers for text in (*one.read, *one.learnt)}
        known = self._count_texts(sorted(texts))
        # Of a pair the longer answer decides what is cut, and how far both are padded.
        return [
            max((self._sum(one, known) for one in answers), key=lambda one: one.total) for answers in made
        ]

    def _sum(self, row: _Pieces, known: dict[str, int]) -> RowLength:
        label = sum(known[text] for text in row.learnt)
        read = sum(known[text] for text in row.read)
        return RowLength(read + label + row.pictures, label, row.pictures, row.exact)

    def _list_answers(self, talk: Conversation, sizes: list[tuple[int, int]]) -> Iterator[_Pieces]:
        if self._stage == "pt":
            yield self._write_plain(talk)
        elif self._stage in ("rm", "dpo"):
            for answer in talk.response:
                yield self._write(talk, answer, sizes)
        elif self._stage == "kto":
            yield self._write(
                talk, talk.response[0] if talk.response[0]["content"] else talk.response[1], sizes
            )
        else:
            empty = {"role": "assistant", "content": ""}
            yield self._write(talk, talk.response[0] if talk.response else empty, sizes)

    def _write_plain(self, talk: Conversation) -> _Pieces:
        """Pre-training learns the text of the first message and the token for its end.

        LLaMA-Factory would put one for its begin before it where `add_bos_token` says so, but transformers 5 passes
        over that setting of `tokenizer_config.json` where there is a `tokenizer.json`.
        """
        eos = "<|end_of_text|>" if self._name == "llama3" else self._eos
        return _Pieces([], [f"{talk.prompt[0]['content']}{eos}"], 0, True)

    def _write(self, talk: Conversation, answer: Message, sizes: list[tuple[int, int]]) -> _Pieces:
        messages, pictures, exact = self._expand_pictures([*talk.prompt, answer], sizes)
        last_only = self._stage in ("rm", "dpo", "kto", "ppo")
        turns, known = write_turns(messages, talk.system, talk.tools, self._name, last_only=last_only)
        row = _Pieces([], [], pictures, exact and known and not (talk.videos or talk.audios))
        for number, turn in enumerate(turns):
            learnt = turn.learnt and (not last_only or number == len(turns) - 1)
            (row.learnt if learnt else row.read).extend(turn.pieces)
        if self._template["efficient_eos"]:
            row.learnt.append(EOS)
        return row

    def _expand_pictures(
        self, messages: list[Message], sizes: list[tuple[int, int]]
    ) -> tuple[list[Message], int, bool]:
        """Return the messages with one token for each picture, and how many more tokens the pictures are."""
        if not sizes or self._picture is None:
            return messages, 0, True
        marks = "".join(self._picture)
        shown = [message | {"content": message["content"].replace("<image>", marks)} for message in messages]
        tokens = sum(self._settings.rule.count(*size) for size in sizes)
        return shown, tokens - len(sizes), self._picture_exact

    def _count_texts(self, texts: list[str]) -> dict[str, int]:
        known = {text: sum(self._count_pieces(text)) for text in texts if len(text) > _LONGEST_PIECE}
        short = [text for text in texts if text and text not in known]
        known |= dict(zip(short, self._encode(short), strict=True))
        return known | {"": 0, EOS: 1, BOS: int(self._settings.bos is not None)}

    def _count_pieces(self, text: str) -> Iterator[int]:
        for start in range(0, len(text), _LONGEST_PIECE):
            yield self._encode([text[start : start + _LONGEST_PIECE]])[0]

    def _encode(self, texts: list[str]) -> list[int]:
        whole = [text.encode("utf-8", "ignore").decode("utf-8") for text in texts]  # no halves of pairs
        try:
            return [len(one) for one in self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)]
        except BaseException as error:
            raise _explain(error) from error


def _explain(error: BaseException) -> BaseException:
    """Return what is raised for a fault of the library: it raises bare exceptions, and panics that are no `Exception`."""
    if isinstance(error, MemoryError | KeyboardInterrupt | SystemExit):
        return error
    return BadTokenizer(str(error)[:300])
