"""Profiles: how long the rows of one version of a dataset are by one tokenizer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.tables.base import Base, Identified


class DatasetProfile(Identified, Base):
    """Counted once for all models whose tokenizer and template are alike, and never changed then.

    `status` is `counting`, `measured` or `failed`; `result` is what `dataset_files.profiling` found.
    """

    __tablename__ = "dataset_profiles"

    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    tokenizer: Mapped[str] = mapped_column(doc="what `tokenizer_files.identify_tokenizer` says")
    status: Mapped[str]
    result: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (UniqueConstraint("dataset_id", "tokenizer"),)
