"""What every test runs in: no network, no setting of the person who runs it, a store of its own.

Invariant: it is set before anything of the project is imported, so that nothing reads other values.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.chromium import find_chromium

_SETTINGS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_MODEL",
    "DEVICE",
    "HF_ENDPOINT",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    "HOST",
    "MISTRAL_MODEL",
    "MODEL_DTYPE",
    "PORT",
    "SAE_ACTIVATION",
    "SAE_HOOK_NAME",
    "SAE_K",
    "SAE_PATH",
)
_scratch = tempfile.TemporaryDirectory(prefix="featurebook-tests-")


def _isolate(scratch: Path) -> None:
    """Clears what a person has set, and points what is left at an empty folder."""
    for name in list(os.environ):
        if name in _SETTINGS or name.startswith(("FEATUREBOOK_", "STREAMLIT_")):
            del os.environ[name]
    os.environ.update(
        FEATUREBOOK_SOURCES=str(scratch / "sources.toml"),
        FEATUREBOOK_STORE=str(scratch / "featurebook.duckdb"),
        HF_HOME=str(scratch / "huggingface"),
        HF_HUB_OFFLINE="1",
        MODEL_CACHE_DIR=str(scratch / "models_cache"),
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_OFFLINE="1",
        WANDB_MODE="disabled",
    )


def _let_ctrl_c_work() -> None:
    """Tests that a shell starts in the background would have SIGINT ignored, children included."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_isolate(Path(_scratch.name))
_let_ctrl_c_work()
settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("searching", deadline=None, print_blob=True)
settings.load_profile("repeatable" if os.environ.get("CI") == "true" else "searching")


def pytest_unconfigure() -> None:
    """Removes the scratch folder."""
    _scratch.cleanup()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the tests that need a CUDA device where there is none."""
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        items[:] = [item for item in items if item not in needing]
        config.hook.pytest_deselected(items=needing)


@pytest.fixture(scope="session", autouse=True)
def _without_dotenv() -> Iterator[None]:
    """Keeps the `.env` of the person who runs the tests out of the settings."""
    from dashboard.settings import ServerSettings
    from engine.settings import EngineSettings
    from scripts._server_address import ServerAddress
    from store.settings import StoreSettings

    with pytest.MonkeyPatch.context() as patch:
        for settings_class in (EngineSettings, ServerAddress, ServerSettings, StoreSettings):
            patch.setattr(
                settings_class, "model_config", {**settings_class.model_config, "env_file": None}
            )
        yield


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser that the browser tests drive."""
    found = find_chromium()
    if found is None:
        pytest.fail("No Chromium was found: install one, or leave these out with -m 'not browser'.")
    return found
