"""The store's settings: environment, then `.env`, then defaults; read once and passed in.

Invariant: importing this reads nothing; `StoreSettings()` reads everything, and is frozen.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class StoreSettings(BaseSettings):
    """Where the store is."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    featurebook_store: Path = Field(
        default=Path("data/featurebook.duckdb"),
        description="The DuckDB file that holds everything; its folder is made if it is missing.",
    )
