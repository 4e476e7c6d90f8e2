"""The registry of published SAEs that comes with sae-lens, read as data: sae-lens is not imported.

Invariant: importing this reads nothing. Of the registry (1.5 MB of YAML, a second to parse) a
look-up parses one release; only a list, or a name that is not there, takes all of it, once a
process. A release whose files are pickles is refused.

Source: https://github.com/decoderesearch/SAELens (pretrained_saes.yaml, loading/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from engine.errors import UnknownSourceError, UnsupportedError
from engine.source_entries import REGISTRY_PREFIX

_RESIDUAL = re.compile(r"(?:^|[./_-])hook_(?:resid_pre|resid_post)\b")
_Kind = Literal["sae_lens", "gemma", "llama_scope", "pickle", "other"]
# Layouts by the name of the function in sae-lens that reads them, and the file that each needs.
_KINDS: dict[str | None, _Kind] = {
    None: "sae_lens",
    "gemma_2": "gemma",
    "gemma_3": "gemma",
    "llama_scope": "llama_scope",
    "dictionary_learning_1": "pickle",
    "connor_rob_hook_z": "pickle",
    "deepseek_r1": "pickle",
    "goodfire": "pickle",
    "qwen_scope": "pickle",
}
_NEEDED: dict[str, str] = {
    "sae_lens": "cfg.json",
    "gemma_2": "params.npz",
    "gemma_3": "params.safetensors",
    "llama_scope": "hyperparams.json",
}
_MODELS: dict[str, str] = {"gpt2-small": "openai-community/gpt2", "gemma-2-2b": "google/gemma-2-2b"}
"""Repositories of models that the registry calls by a nickname."""


@dataclass(frozen=True, slots=True)
class RegisteredSae:
    """One SAE of the registry.

    Attributes:
        repo_id: repository that holds it. inside: its folder (or file) there.
        model: as the registry names it, often a nickname.
        needed: a file of `inside` that must be there before it can be read.
        needs_conversion: whether its files must be rewritten before they are read: they are in
            another layout than SAELens's, or it was trained on centred activations.
        is_centred: whether it reads the residual stream with its mean over d_model taken out.
    """

    release: str
    sae_id: str
    repo_id: str
    inside: str
    model: str
    needed: str
    needs_conversion: bool
    is_centred: bool

    @property
    def location(self) -> str:
        """Where its files lie on the hub, `org/name:folder/inside`."""
        return f"{self.repo_id}:{self.inside}"

    @property
    def name(self) -> str:
        """As a definition writes it."""
        return f"{REGISTRY_PREFIX}{self.release}/{self.sae_id}"


@dataclass(frozen=True, slots=True)
class SaeRelease:
    """A release of the registry that this engine can use, for a list to choose from."""

    release: str
    model: str
    repo_id: str
    sae_ids: tuple[str, ...]


def is_registered_name(location: str | None) -> bool:
    """Whether a location is an entry of the registry, `sae-lens:RELEASE/SAE_ID`."""
    return location is not None and location.startswith(REGISTRY_PREFIX)


def get_registered(location: str) -> RegisteredSae:
    """The entry that `sae-lens:RELEASE/SAE_ID` means.

    Raises:
        UnknownSourceError: if the registry has no such release or SAE.
        UnsupportedError: if its files are pickles, or in a layout that cannot be converted.
    """
    release, _, sae_id = location.removeprefix(REGISTRY_PREFIX).partition("/")
    content = _find_release(release)
    if content is None:
        raise UnknownSourceError(location, _similar(release, tuple(_registry())))
    paths = _paths(content)
    if sae_id not in paths:
        raise UnknownSourceError(location, _similar(sae_id, tuple(paths)))
    function = content.get("conversion_func")
    kind = (
        _KINDS.get(function, "other") if function is None or isinstance(function, str) else "other"
    )
    inside = paths[sae_id]
    if kind == "pickle" or inside.endswith((".pt", ".pth", ".bin", ".pkl")):
        raise UnsupportedError(
            f"The SAE {location!r} is published as a pickle, which can run code when it is read.",
            "Choose a release in safetensors or npz.",
        )
    if kind == "other":
        raise UnsupportedError(
            f"The SAE {location!r} is in a layout that cannot be converted.",
            "Choose a release of SAEs on the residual stream.",
        )
    return RegisteredSae(
        release=release,
        sae_id=sae_id,
        repo_id=str(content["repo_id"]),
        inside=inside,
        model=str(content.get("model", "")),
        needed=_NEEDED[str(function or "sae_lens")],
        needs_conversion=function is not None or _is_centred(content) or bool(_overrides(content)),
        is_centred=_is_centred(content),
    )


def resolve_location(location: str) -> str:
    """Where the files of an SAE lie: an entry of the registry as its `org/name:folder`.

    Any other location is returned as it is.

    Raises:
        UnknownSourceError, UnsupportedError: as `get_registered` does.
    """
    return get_registered(location).location if is_registered_name(location) else location


def list_releases(model: str = "") -> tuple[SaeRelease, ...]:
    """Releases on the residual stream that can be used, those for a model if one is named.

    Args:
        model: part of a model's name, such as `gemma-2-2b`; case does not matter.
    """
    found = []
    for release, content in _registry().items():
        function = content.get("conversion_func")
        if _KINDS.get(function if isinstance(function, str) else None, "other") in (
            "pickle",
            "other",
        ):
            continue
        name = str(content.get("model", ""))
        if model.lower() not in f"{name} {_MODELS.get(name, '')}".lower():
            continue
        ids = tuple(
            sae_id
            for sae_id, path in _paths(content).items()
            if _is_residual(release, sae_id) and not path.endswith(".pt")
        )
        if ids:
            found.append(SaeRelease(release, _MODELS.get(name, name), str(content["repo_id"]), ids))
    return tuple(found)


def _is_residual(release: str, sae_id: str) -> bool:
    if "hook_" in sae_id:
        return _RESIDUAL.search(sae_id) is not None
    if sae_id.startswith("embedding") or "transcoder" in release:
        return False
    # Gemma Scope and Llama Scope say the site in the release's name
    return re.search(r"-res\b|-res-|_lxr_|resid", release) is not None


@cache
def _text() -> str:
    spec = find_spec("sae_lens")
    if spec is None or not spec.submodule_search_locations:
        raise UnsupportedError(
            "The registry of published SAEs is not installed.",
            "Install it with: pip install sae-lens",
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    return (folder / "pretrained_saes.yaml").read_text(encoding="utf-8")


def _parse(text: str) -> dict[str, dict[str, object]]:
    import yaml

    # the loader in C is ten times as fast as the one in Python
    content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {
        str(release): entry
        for release, entry in content.items()
        if isinstance(entry, dict) and "repo_id" in entry
    }


@cache
def _registry() -> dict[str, dict[str, object]]:
    return _parse(_text())


@cache
def _find_release(release: str) -> dict[str, object] | None:
    """One release: its lines are those from its name to the next line that is not indented."""
    block = re.search(rf"^{re.escape(release)}:\n(?:[ -].*\n)+", _text(), re.MULTILINE)
    found = _parse(block[0]) if block else {}
    return found.get(release) or _registry().get(release)


def _paths(content: dict[str, object]) -> dict[str, str]:
    saes = content.get("saes")
    entries = saes if isinstance(saes, list) else []
    return {
        str(entry["id"]): str(entry["path"]) for entry in entries if {"id", "path"} <= set(entry)
    }


def _overrides(content: dict[str, object]) -> dict[str, object]:
    """What the registry changes in the config of its SAEs, as far as numbers depend on it."""
    overrides = content.get("config_overrides")
    return (
        {key: value for key, value in overrides.items() if key != "dataset_path"}
        if isinstance(overrides, dict)
        else {}
    )


def _is_centred(content: dict[str, object]) -> bool:
    kwargs = _overrides(content).get("model_from_pretrained_kwargs")
    return isinstance(kwargs, dict) and bool(kwargs.get("center_writing_weights"))


def _similar(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    from difflib import get_close_matches

    return tuple(get_close_matches(name, known, n=5, cutoff=0.4)) or known[:5]
