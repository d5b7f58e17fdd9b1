"""Pages of datasets, each read in a process of its own: a damaged file may crash a reader written in C, or never end."""

from backend.dataset_pages.asking import close, prepare, read_embedded, read_rows, read_rows_at, render_row

__all__ = ["close", "prepare", "read_embedded", "read_rows", "read_rows_at", "render_row"]
