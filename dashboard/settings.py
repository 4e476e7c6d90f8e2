"""The server's settings: environment, then `.env`, then defaults; read once and passed in.

Invariant: importing this reads nothing; `ServerSettings()` reads everything, and is frozen.
"""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServerSettings(BaseSettings):
    """Where the server listens and who may use it."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    host: str = Field(default="127.0.0.1", description="Address that the server binds.")
    port: int = Field(default=8501, ge=0, le=65535, description="Port that the server binds.")
    featurebook_api_token: SecretStr | None = Field(
        default=None,
        description="Token that the API and the pages ask for; needed to serve other machines.",
    )
    featurebook_insecure: bool = Field(
        default=False,
        description="Serve any address without a token; set by `scripts/run.sh --insecure`.",
    )
    featurebook_prepare: bool = Field(
        default=False,
        description="Ask a toy default source some questions at the first start, so that every "
        "page has something to show; `scripts/run.sh` sets it.",
    )
