"""The engine's settings: environment, then `.env`, then defaults; read once and passed in.

Invariant: importing this reads nothing; `EngineSettings()` reads everything, and is frozen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EngineSettings(BaseSettings):
    """Which source is served, where weights are kept, and what computes."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    featurebook_source: str = Field(
        default="demo", description="Source that is used when a request names none."
    )
    mistral_model: str | None = Field(
        default=None, description="Model of the source `custom`: a repository or a local folder."
    )
    sae_path: str | None = Field(
        default=None,
        description="SAE of the source `custom`: a repository, repository:folder, or a folder.",
    )
    device: str = Field(
        default="auto",
        description="`cpu`, `cuda`, `cuda:1`, `mps`, or `auto` (a GPU if there is one).",
    )
    model_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="Precision of the model; `auto` is what its files are stored in.",
    )
    model_cache_dir: Path = Field(
        default=Path("models_cache"), description="The project's own cache of weights."
    )
