"""The engine's settings: environment, then `.env`, then defaults; read once and passed in.

Invariant: importing this reads nothing; `EngineSettings()` reads everything, and is frozen.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.definitions import Dtype, SaeActivation
from engine.errors import UnsupportedError
from engine.hook_names import parse_hook_name

_DEVICE = re.compile(r"auto|balanced|cpu|mps|cuda|cuda:\d{1,3}(,cuda:\d{1,3})*")


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
    featurebook_sources: Path = Field(
        default=Path("data/sources.toml"), description="File of the sources that users have added."
    )
    mistral_model: str | None = Field(
        default=None,
        description="Model of the source `custom`: a Hugging Face repository or a local folder.",
    )
    sae_path: str | None = Field(
        default=None,
        description="SAE of the source `custom`: a repository, repository:folder, or a folder.",
    )
    sae_hook_name: str | None = Field(
        default=None, description="Hook point of the SAE of `custom`, where its files do not say."
    )
    sae_activation: SaeActivation | None = Field(
        default=None,
        description="Activation of the SAE of `custom`, where its files do not say.",
    )
    sae_k: int | None = Field(
        default=None, ge=1, description="Features kept a token, with SAE_ACTIVATION=topk."
    )
    device: str = Field(
        default="auto",
        description="`cpu`, `cuda`, `cuda:1`, `mps`, `auto` (a GPU if there is one), or several"
        " GPUs: `balanced` or `cuda:0,cuda:1`.",
    )
    model_dtype: Dtype = Field(
        default="auto",
        description="Precision of the model; `auto` is what its files are stored in.",
    )
    model_cache_dir: Path = Field(
        default=Path("models_cache"), description="The project's own cache of weights."
    )
    hf_home: Path | None = Field(
        default=None, description="Home of Hugging Face; the global cache is its folder `hub`."
    )
    hf_hub_cache: Path | None = Field(
        default=None, description="The global Hugging Face cache itself; comes before HF_HOME."
    )
    hf_hub_offline: bool = Field(default=False, description="Open no connection to the hub.")
    hf_endpoint: str | None = Field(default=None, description="Address of another hub.")
    hf_token: SecretStr | None = Field(
        default=None, description="Token for gated repositories; else that of `hf auth login`."
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, description="Key of Anthropic's API, for labels and judgements by a model."
    )
    anthropic_base_url: str | None = Field(
        default=None, description="Address of another service that speaks that API."
    )
    anthropic_model: str = Field(
        default="claude-haiku-5-5", description="Hosted model that labels and judges."
    )

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        device = "".join(device.lower().split())
        if not _DEVICE.fullmatch(device):
            raise ValueError(
                f"{device[:40]!r} is none of auto, cpu, mps, cuda, cuda:N, cuda:N,cuda:M, balanced"
            )
        return device

    @field_validator("sae_hook_name")
    @classmethod
    def _known_hook(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                parse_hook_name(name)
            except UnsupportedError as error:
                raise ValueError(f"{error.message} {error.hint}".rstrip(".")) from error
        return name

    @field_validator("hf_endpoint", "anthropic_base_url")
    @classmethod
    def _web_address(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(
                f"{endpoint[:60]!r} is no address that begins with http:// or https://"
            )
        return endpoint.rstrip("/")
