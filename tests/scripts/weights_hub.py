"""scripts/weights.py against a loopback hub that has a model in shards and SAEs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.weights import main
from tests.hub.loopback import LoopbackHub, serve
from tests.hub.repositories import shard_name, write_sae, write_sharded_model
from tests.source_files import ROOT

SHARDS = [shard_name(index, 3) for index in range(3)]


@dataclass(frozen=True)
class WeightsBench:
    """The source `custom` is made of the hub's model and of one of its SAEs."""

    hub: LoopbackHub
    root: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def cache(self) -> Path:
        return self.root / "my cache"

    @property
    def settings(self) -> dict[str, str]:
        return {
            "MODEL_CACHE_DIR": str(self.cache),
            "HF_HOME": str(self.root / "home"),
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HUB_OFFLINE": "0",
            "MISTRAL_MODEL": "org/tiny",
            "SAE_PATH": "org/saes:blocks.1.hook_resid_post",
        }

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output, standard error, in this process."""
        status = main(list(arguments))
        captured = self.capsys.readouterr()
        return status, captured.out, captured.err

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command in a process of its own."""
        inherited = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "scripts/weights.py", *arguments],
            cwd=ROOT,
            env=inherited | self.settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def make_bench(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[WeightsBench]:
    """A bench whose settings this process sees."""
    write_sharded_model(root / "model")
    for layer in (1, 2):
        write_sae(root / "saes" / f"blocks.{layer}.hook_resid_post", seed=layer)
    with serve({"org/tiny": root / "model", "org/saes": root / "saes"}) as hub:
        bench = WeightsBench(hub, root, capsys)
        for name, value in bench.settings.items():
            monkeypatch.setenv(name, value)
        yield bench
