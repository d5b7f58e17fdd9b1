"""Names of datasets: LLaMA-Factory parts them by commas and the platform makes folders of them."""

from __future__ import annotations

import re
import unicodedata

from backend.domain.errors import Invalid, Problem

MAX_LENGTH = 100
_NAME = re.compile(r"\w[\w.-]*", re.UNICODE)
_PACKED = re.compile(
    r"(\.(tar|jsonl?|csv|txt))?\.(zip|tgz|tbz2|txz|tar|gz|bz2|xz|jsonl?|csv|parquet|arrow|txt)$", re.I
)


def check_name(name: str) -> str:
    """Return a name as it is kept; raises Invalid for one that is not letters, digits, `_`, `.` and `-`."""
    kept = unicodedata.normalize("NFC", name).strip()
    if not _NAME.fullmatch(kept) or len(kept) > MAX_LENGTH or ".." in kept:
        raise Invalid(
            [
                Problem(
                    ("name",),
                    f"letters, digits, _ . and - only, beginning with a letter or digit, {MAX_LENGTH} at most",
                    f"只能使用文字、数字、下划线、点和短横线，以文字或数字开头，最多 {MAX_LENGTH} 个字符",
                )
            ]
        )
    return kept


def build_name(file_name: str) -> str:
    """Return a name for the dataset that a file or folder of this name holds."""
    stem = _PACKED.sub("", unicodedata.normalize("NFC", file_name).strip()) or "dataset"
    kept = re.sub(r"[^\w.-]+", "-", stem).strip("-._")
    return re.sub(r"\.{2,}", ".", kept)[: MAX_LENGTH - 10].strip("-._") or "dataset"


def split_reference(reference: str) -> tuple[str, int | None]:
    """Return the name and the version of `name@2`; without a version, None."""
    name, _, version = reference.rpartition("@")
    if name and version.isascii() and version.isdigit() and len(version) < 10:
        return name, int(version)
    return reference, None
