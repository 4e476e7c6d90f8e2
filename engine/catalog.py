"""The named sources (model + SAE pairs), the demo one first.

Invariant: describing or resolving a source imports no torch and opens no network connection; a
source that resolves has all its files, and an SAE that fits its model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.demo import MODEL_DIR, SAE_DIR
from engine.demo.examples import EXAMPLES, LOOKUP_TOOL
from engine.errors import EngineError, SourceMismatchError, UnknownSourceError, WeightsMissingError
from engine.hook_names import HookPoint, parse_hook_name
from engine.model_config import ModelConfig, read_model_config
from engine.sae_config import CONFIG_FILE, SaeConfig, read_sae_config
from engine.settings import EngineSettings
from engine.weights.locate import Located, Locator
from store.specs import ModelSpec, SourceSpec, ToolSpec


@dataclass(frozen=True, slots=True)
class SourceExample:
    """A prompt worth trying, and what to look for in its answer."""

    title: str
    prompt: str
    tools: bool
    explanation: str


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a page says about a source before anything is loaded.

    Attributes:
        model_id, sae_id: repository, or local folder's name.
        hook_name, d_in, d_sae: as read from the SAE's config; None where that is not at hand.
        tool_names: tools that it can offer to the model.
        is_toy: numbers of this source carry the word "toy".
        problem: one sentence if it cannot be used as it stands, else None.
    """

    name: str
    title: str
    model_id: str
    sae_id: str
    hook_name: str | None
    d_in: int | None
    d_sae: int | None
    tool_names: tuple[str, ...]
    is_toy: bool
    examples: tuple[SourceExample, ...]
    problem: str | None


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """A source whose files are all there, with every revision known.

    Attributes:
        tools: what it offers to the model when tools are on.
        n_context: longest sequence in tokens.
    """

    spec: SourceSpec
    model_dir: Path
    sae_dir: Path
    hook: HookPoint
    sae_config: SaeConfig
    n_context: int
    tools: tuple[ToolSpec, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    title: str
    model: str | None
    sae: str | None
    model_name: str | None = None
    sae_name: str | None = None
    tools: tuple[ToolSpec, ...] = ()
    is_toy: bool = False
    examples: tuple[SourceExample, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    model: Located
    sae: Located
    model_name: str
    sae_name: str
    model_config: ModelConfig
    sae_config: SaeConfig
    hook: HookPoint


class Catalog:
    """The sources of this installation: `demo`, and `custom` where the settings define it."""

    def __init__(self, settings: EngineSettings) -> None:
        self._dtype = settings.model_dtype
        self._locator = Locator(settings.model_cache_dir)
        self._entries = {entry.name: entry for entry in _entries(settings)}
        wanted = settings.featurebook_source
        if "custom" in self._entries and "featurebook_source" not in settings.model_fields_set:
            wanted = "custom"
        self.default_name = wanted

    def sources(self) -> tuple[SourceInfo, ...]:
        """All sources, the default one first."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.name != self.default_name)
        return tuple(self._describe(entry) for entry in entries)

    def resolve(self, name: str | None) -> ResolvedSource:
        """Finds the files of a source and checks that model and SAE fit.

        Args:
            name: a source's name; None is the default one.

        Raises:
            UnknownSourceError: if there is none of this name.
            WeightsMissingError: if files are missing.
            SourceMismatchError: if the SAE is of another width or layer than the model has.
            UnsupportedError: if model or SAE are of a kind that this engine cannot run.
        """
        name = self.default_name if name is None else name
        if name not in self._entries:
            raise UnknownSourceError(name, tuple(self._entries))
        entry = self._entries[name]
        found = self._find(entry)
        dtype = found.model_config.dtype if self._dtype == "auto" else self._dtype
        spec = SourceSpec(
            name=entry.name,
            model=ModelSpec(found.model_name, self._locator.revision(found.model), dtype),
            sae_id=found.sae_name,
            sae_revision=self._locator.revision(found.sae),
            hook_name=found.sae_config.hook_name,
            layer=found.hook.layer,
            d_in=found.sae_config.d_in,
            d_sae=found.sae_config.d_sae,
            architecture=found.sae_config.architecture,
        )
        return ResolvedSource(
            spec=spec,
            model_dir=found.model.folder,
            sae_dir=found.sae.folder,
            hook=found.hook,
            sae_config=found.sae_config,
            n_context=found.model_config.n_context,
            tools=entry.tools,
        )

    def _find(self, entry: _Entry) -> _Found:
        """Files and shapes of a source, without its revisions: those may take reading it whole."""
        if entry.model is None:
            raise WeightsMissingError(
                "SAE_PATH is set, but MISTRAL_MODEL is not.",
                "Set MISTRAL_MODEL to the repository or folder of the model that the SAE reads.",
            )
        if entry.sae is None:
            raise WeightsMissingError(
                "MISTRAL_MODEL is set, but SAE_PATH is not.",
                "Set SAE_PATH to a repository, or to a folder with an SAE in SAELens layout.",
            )
        model = self._locator.locate(entry.model, "config.json")
        sae = self._locator.locate(entry.sae, CONFIG_FILE)
        model_config = read_model_config(model.folder)
        sae_config = read_sae_config(sae.folder)
        hook = parse_hook_name(sae_config.hook_name)
        check_fit(model_config, sae_config, hook)
        return _Found(
            model=model,
            sae=sae,
            model_name=entry.model_name or model.name,
            sae_name=entry.sae_name or sae.name,
            model_config=model_config,
            sae_config=sae_config,
            hook=hook,
        )

    def _describe(self, entry: _Entry) -> SourceInfo:
        found, problem = None, None
        try:
            found = self._find(entry)
        except EngineError as error:
            problem = f"{error.message} {error.hint}".strip()
        return SourceInfo(
            name=entry.name,
            title=entry.title,
            model_id=found.model_name if found else entry.model or "",
            sae_id=found.sae_name if found else entry.sae or "",
            hook_name=found.sae_config.hook_name if found else None,
            d_in=found.sae_config.d_in if found else None,
            d_sae=found.sae_config.d_sae if found else None,
            tool_names=tuple(tool.name for tool in entry.tools),
            is_toy=entry.is_toy,
            examples=entry.examples,
            problem=problem,
        )


def check_fit(model: ModelConfig, sae: SaeConfig, hook: HookPoint) -> None:
    """Refuses an SAE that cannot belong to the model.

    Raises:
        SourceMismatchError: if widths differ, or the hook is beyond the last layer.
    """
    if sae.d_in != model.d_model:
        raise SourceMismatchError(
            f"The SAE reads {sae.d_in} dimensions, but the model is {model.d_model} wide.",
            "Use an SAE that was trained on this model.",
        )
    if hook.layer >= model.n_layers:
        raise SourceMismatchError(
            f"The SAE's hook {sae.hook_name} is beyond the model's last layer, "
            f"{model.n_layers - 1}.",
            "Use an SAE that was trained on this model.",
        )


def _entries(settings: EngineSettings) -> list[_Entry]:
    function = LOOKUP_TOOL["function"]
    demo = _Entry(
        name="demo",
        title="Demo: a toy model of 600 people",
        model=str(MODEL_DIR),
        sae=str(SAE_DIR),
        model_name="featurebook/demo-model",
        sae_name="featurebook/demo-sae",
        tools=(
            ToolSpec(
                name=str(function["name"]),
                description=str(function["description"]),
                # in its own order: chat templates write properties in the order they come in
                parameters=json.dumps(function["parameters"]),
            ),
        ),
        is_toy=True,
        examples=tuple(
            SourceExample(item.title, item.prompt, item.tools, item.explanation)
            for item in EXAMPLES
        ),
    )
    if settings.mistral_model is None and settings.sae_path is None:
        return [demo]
    custom = _Entry(
        name="custom",
        title=f"Custom: {Path(settings.mistral_model or 'no model').name}",
        model=settings.mistral_model,
        sae=settings.sae_path,
    )
    return [demo, custom]
