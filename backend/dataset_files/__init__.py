"""Datasets on disk: recognised, checked by LLaMA-Factory's own rules, read in pages, cleaned, rendered."""

from backend.dataset_files.checking import FINDINGS_FILE, CheckReport, check
from backend.dataset_files.cleaning import write_cleaned
from backend.dataset_files.paging import RowPage, read_embedded, read_rows, read_rows_at
from backend.dataset_files.recognising import Recognition, recognise
from backend.dataset_files.rendering import Rendered, render

__all__ = [
    "FINDINGS_FILE",
    "CheckReport",
    "Recognition",
    "Rendered",
    "RowPage",
    "check",
    "read_embedded",
    "read_rows",
    "read_rows_at",
    "recognise",
    "render",
    "write_cleaned",
]
