"""An SAE of sae-lens's registry rewritten to SAELens layout, by sae-lens, in a process of its own.

`python -m engine.sae_conversion RELEASE SAE_ID FOLDER` reads local files alone and opens no
connection: sae-lens takes half a gigabyte of memory and seconds to import, and leaves with that
process.

Invariant: a converted folder is whole or absent, and nothing is unpickled. The numbers are those
of sae-lens's own loader, the centring of activations, where a release asks for it, folded in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError, GenerationCancelled, UnsupportedError, WeightsMissingError
from engine.registry import RegisteredSae, get_registered
from engine.source_entries import REGISTRY_PREFIX

if TYPE_CHECKING:
    from sae_lens import SAE

ORIGIN_FILE = ".made-from.json"
"""Names the commit that a folder was converted from; not part of the SAE's revision."""
_FILES = ("cfg.json", "sae_weights.safetensors")
_TIMEOUT_S = 1800
_POLL_S = 0.2


def is_converted(folder: Path, commit: str | None) -> bool:
    """Whether a folder holds a finished conversion.

    Args:
        commit: of the files that it should be made from; None if those are not here any more.
    """
    if not all((folder / name).is_file() for name in _FILES):
        return False
    try:
        made_from = json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return commit is None
    return commit is None or (isinstance(made_from, dict) and made_from.get("commit") == commit)


def convert_sae(
    entry: RegisteredSae,
    original: Path,
    commit: str,
    folder: Path,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Converts an SAE whose files are in a cache of this machine.

    Args:
        original: folder of its files, inside the snapshot `commit` of a Hugging Face cache.
        folder: that is made, or replaced.
        is_cancelled: asked a few times a second.

    Raises:
        WeightsMissingError: if the folder cannot be written.
        UnsupportedError: if sae-lens cannot read the files.
        GenerationCancelled: if `is_cancelled` said so; nothing is left behind.
    """
    cache = next(path.parent.parent for path in original.parents if path.name == "snapshots")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent) as made:
            new = Path(made) / "sae"
            _run(entry, cache, new, is_cancelled)
            (new / ORIGIN_FILE).write_text(json.dumps({"commit": commit}), encoding="utf-8")
            if folder.exists():
                folder.rename(Path(made) / "old")
            new.rename(folder)
    except OSError as error:
        raise WeightsMissingError(
            f"The SAE {entry.name!r} could not be converted: {error.strerror or error}.",
            "Make room on the disk of MODEL_CACHE_DIR, and make it writable for this user.",
        ) from error


def _run(entry: RegisteredSae, cache: Path, new: Path, is_cancelled: Callable[[], bool]) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(cache.resolve()),
        "PYTHONWARNINGS": "ignore",
        # sae-lens brings a client that reports to a service if it is used
        "WANDB_MODE": "disabled",
    }
    command = [sys.executable, "-m", "engine.sae_conversion", entry.release, entry.sae_id, str(new)]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=Path(__file__).parents[1],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            _wait(process, is_cancelled)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            output.seek(0)
            lines = output.read().decode("utf-8", "replace").strip().splitlines() or ["no reason"]
            raise UnsupportedError(
                f"The SAE {entry.name!r} could not be converted: {lines[-1][:200]}",
                "Download it again, or choose another SAE of the registry.",
            )


def _wait(process: subprocess.Popen[bytes], is_cancelled: Callable[[], bool]) -> None:
    for _ in range(int(_TIMEOUT_S / _POLL_S)):
        try:
            process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if is_cancelled():
                raise GenerationCancelled from None
            continue
        return
    raise UnsupportedError("The conversion of the SAE did not end in half an hour.", "Try again.")


def _convert_here(release: str, sae_id: str, folder: Path) -> None:
    """Loads by sae-lens and saves; what it needs is in the cache that the environment names."""
    entry = get_registered(f"{REGISTRY_PREFIX}{release}/{sae_id}")
    from sae_lens import SAE

    _read_shapes_locally()
    sae = SAE.from_pretrained(release, sae_id, device="cpu")
    if entry.is_centred:
        _fold_centring(sae)
    state = sae.state_dict()
    sae.process_state_dict_for_saving(state)
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({name: value.contiguous() for name, value in state.items()}, folder / _FILES[1])
    config: dict[str, Any] = sae.cfg.to_dict()
    if entry.is_centred:
        config.get("metadata", {}).pop("model_from_pretrained_kwargs", None)
    (folder / _FILES[0]).write_text(json.dumps(config, default=str), encoding="utf-8")


def _fold_centring(sae: SAE) -> None:
    """Makes an SAE that was trained on x - mean(x) give the same features for x.

    With C = I - 1 1^T / d_in, (C x - b) W_enc = (x - b) (C W_enc) - (b - C b) W_enc; the last
    term goes to the bias. What it decodes to stays centred.
    """
    if sae.cfg.normalize_activations == "layer_norm":
        return
    if sae.cfg.normalize_activations != "none":
        raise ValueError("an SAE on centred activations must not scale them besides")
    encoder = sae.W_enc.data
    sums = encoder.sum(dim=0)
    if sae.cfg.apply_b_dec_to_input:
        sae.b_enc.data -= sae.b_dec.data.mean() * sums
    encoder -= encoder.mean(dim=0, keepdim=True)


def _read_shapes_locally() -> None:
    """Has sae-lens read the shapes of Gemma Scope 2 from the cache: it would ask the hub."""
    from huggingface_hub import hf_hub_download
    from sae_lens.loading import pretrained_sae_loaders

    from engine.safetensors_header import read_header

    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        entries = read_header(Path(hf_hub_download(repo_id, filename)))
        return {name: list(tensor.shape) for name, tensor in entries.items()}

    pretrained_sae_loaders.get_safetensors_tensor_shapes = shapes


def main(arguments: list[str]) -> int:
    """Converts RELEASE SAE_ID into FOLDER; 0, or 1 with the reason as the last line."""
    release, sae_id, folder = arguments
    try:
        _convert_here(release, sae_id, Path(folder))
    except EngineError as error:
        sys.stderr.write(f"\n{error.message}\n")
    except Exception as error:  # noqa: BLE001 - whatever sae-lens raises is told as one line
        reason = (str(error).strip().splitlines() or [""])[0]
        sys.stderr.write(f"\n{type(error).__name__}: {reason}\n")
    else:
        return 0
    shutil.rmtree(folder, ignore_errors=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
