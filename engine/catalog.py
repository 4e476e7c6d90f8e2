"""The named sources: what is said of each, and what it resolves to once its files are here.

Invariant: describing or resolving a source imports no torch and opens no network connection; a
source that resolves has all its files, and an SAE that fits its model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.chat_templates import takes_tools
from engine.definitions import Dtype, Origin, SourceDefinition
from engine.demo_source import (
    DEMO,
    DEMO_EXAMPLES,
    DEMO_MODEL_ID,
    DEMO_SAE_ID,
    SourceExample,
    demo_tools,
    find_toy_seed,
)
from engine.errors import (
    EngineError,
    UnknownSourceError,
    WeightsMissingError,
)
from engine.hook_names import HookPoint, parse_hook_name
from engine.sae_config import SaeConfig
from engine.settings import EngineSettings
from engine.source_folders import (
    NotConvertedError,
    SourceFinder,
    SourceFolders,
    check_fit,
    finish_download,
)
from engine.sources import NamedSources
from engine.tools.offers import introspection_tools
from engine.weights.caches import find_caches
from store.specs import ModelSpec, SourceSpec, ToolSpec

__all__ = ["Catalog", "PreparationNeeded", "ResolvedSource", "SourceExample", "SourceInfo"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a page says about a source before anything is loaded.

    Attributes:
        model_id, sae_id: repository, or local folder's name; `sae_id` is empty without an SAE.
        hook_name, d_in, d_sae, layer, n_layers: as the files say, or what the catalog claims while
            they are not here; None where neither does.
        tool_names: tools that it can offer to the model.
        is_toy: numbers of this source carry the word "toy".
        problem: one sentence if it cannot be used as it stands, else None.
        origin: where it is defined: built in, by the settings, or added by a user.
        dtype: that it would be computed in; None while only its files could tell.
        model_revision: commit of the model's files, if they are a repository's and here.
        is_gated, license, size_bytes: as the catalog claims; the size is that of model and SAE.
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
    origin: Origin = "builtin"
    layer: int | None = None
    n_layers: int | None = None
    dtype: str | None = None
    model_revision: str | None = None
    is_gated: bool = False
    license: str = ""
    size_bytes: int | None = None

    @property
    def has_sae(self) -> bool:
        """Whether it has features to show."""
        return bool(self.sae_id)

    @property
    def is_ready(self) -> bool:
        """Whether it can be used as it stands."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class ResolvedSource:
    """A source whose files are all there, with every revision known.

    Attributes:
        sae_dir, hook, sae_config: None, all three, for a model without an SAE.
        n_context: longest sequence in tokens.
        tools: what it offers to the model when tools are on.
        world_seed: of the toy world that its model was trained on; None for any other model.
    """

    spec: SourceSpec
    model_dir: Path
    sae_dir: Path | None
    hook: HookPoint | None
    sae_config: SaeConfig | None
    n_context: int
    tools: tuple[ToolSpec, ...]
    world_seed: int | None = None


class PreparationNeeded(Exception):  # noqa: N818 - a signal, not a fault
    """Files are here, but must be converted, or read whole for their revision, which takes time."""


class Catalog:
    """The sources of this installation; what users add appears at the next look."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._dtype: Dtype = settings.model_dtype
        self._finder: SourceFinder | None = None
        self._takes_tools: dict[Path, bool] = {}
        self.named = NamedSources(settings)
        self.default_name = self.named.default_name

    @property
    def finder(self) -> SourceFinder:
        """Where files are looked for.

        Raises:
            WeightsMissingError: if a cache is no folder; the next call looks again.
        """
        if self._finder is None:
            self._finder = SourceFinder(
                find_caches(
                    self._settings.model_cache_dir,
                    self._settings.hf_home,
                    self._settings.hf_hub_cache,
                )
            )
        return self._finder

    def sources(self) -> tuple[SourceInfo, ...]:
        """All sources, the default one first."""
        return tuple(self._describe(item) for item in self.named.definitions().values())

    def info(self, name: str) -> SourceInfo:
        """One source.

        Raises:
            UnknownSourceError: if there is none of this name.
        """
        return self._describe(self.definition(name))

    def definition(self, name: str | None) -> SourceDefinition:
        """How a source is written down.

        Args:
            name: a source's name; None is the default one.

        Raises:
            UnknownSourceError: if there is none of this name.
        """
        known = self.named.definitions()
        name = self.default_name if name is None else name
        if name not in known:
            raise UnknownSourceError(name, tuple(known))
        return known[name]

    def wanted_dtype(self, definition: SourceDefinition) -> Dtype:
        """Precision that a source is computed in; `auto` is what its files are stored in."""
        return self._dtype if definition.dtype == "auto" else definition.dtype

    def resolve(self, name: str | None, is_quick: bool = False) -> ResolvedSource:
        """Finds the files of a source and checks that model and SAE fit.

        Args:
            name: a source's name; None is the default one.
            is_quick: raise PreparationNeeded rather than read gigabytes for a revision.

        Raises:
            UnknownSourceError: if there is none of this name.
            WeightsMissingError: if files are missing.
            SourceMismatchError: if the SAE is of another width or layer than the model has.
            UnsupportedError: if model or SAE are of a kind that this engine cannot run.
            PreparationNeeded: if `is_quick`, and it would take long.
        """
        definition = self.definition(name)
        try:
            found = self.finder.find(definition)
        except NotConvertedError:
            if is_quick:
                raise PreparationNeeded from None
            raise
        located = [found.model, *([found.sae.located] if found.sae else [])]
        if is_quick and not all(self.finder.is_revision_at_hand(item) for item in located):
            raise PreparationNeeded
        return ResolvedSource(
            spec=self._spec(definition, found),
            model_dir=found.model.folder,
            sae_dir=found.sae.located.folder if found.sae else None,
            hook=found.sae.hook if found.sae else None,
            sae_config=found.sae.config if found.sae else None,
            n_context=found.model_config.n_context,
            tools=self._tools(definition, found.model.folder, found.sae is not None),
            world_seed=find_toy_seed(definition),
        )

    def prepare(self, name: str, is_cancelled: Callable[[], bool]) -> ResolvedSource:
        """Resolves a source, converting its SAE and reading files as far as that takes.

        It takes seconds to minutes: not for a thread that draws a page.

        Raises:
            EngineError: as `resolve` does, or if the SAE cannot be converted.
            GenerationCancelled: if `is_cancelled` said so.
        """
        try:
            return self.resolve(name)
        except NotConvertedError as missing:
            self.finder.convert(missing, is_cancelled)
        return self.resolve(name)

    def finish_download(
        self, definition: SourceDefinition, is_cancelled: Callable[[], bool]
    ) -> None:
        """Converts the SAE of a source whose files have come, if it has to be.

        Raises:
            EngineError: if it cannot be converted.
            TransferCancelled: if `is_cancelled` said so.
        """
        finish_download(self.finder, definition, is_cancelled)

    def add(self, definition: SourceDefinition) -> SourceInfo:
        """Saves a source of a user's, if what can be checked of it now is right.

        A repository need not be here yet; a folder must exist, and files that are here must fit.

        Raises:
            InvalidSourceError: if a value has the wrong form, or the name is taken.
            EngineError: if files that are here cannot be used; nothing is saved then.
        """
        checked = self.named.check(definition)
        model = sae = None
        try:
            _, model = self.finder.find_model(checked)
        except WeightsMissingError:
            # what is not here yet can be downloaded; a folder that is wrong stays wrong
            if _is_path(checked.model):
                raise
        try:
            sae = self.finder.find_sae(checked)
        except WeightsMissingError:
            if _is_path(checked.sae):
                raise
        if model is not None and sae is not None:
            check_fit(model, sae.config, sae.hook)
        self.named.add(checked)
        return self._describe(checked)

    def _spec(self, definition: SourceDefinition, found: SourceFolders) -> SourceSpec:
        wanted = self.wanted_dtype(definition)
        model = ModelSpec(
            DEMO_MODEL_ID if definition is DEMO else found.model.name,
            self.finder.revision(found.model),
            found.model_config.dtype if wanted == "auto" else wanted,
        )
        if found.sae is None:
            return SourceSpec.without_sae(definition.name, model, found.model_config.d_model)
        sae, config = found.sae, found.sae.config
        return SourceSpec(
            name=definition.name,
            model=model,
            sae_id=DEMO_SAE_ID if definition is DEMO else sae.located.name,
            sae_revision=self.finder.revision(sae.located) + sae.applied,
            hook_name=config.hook_name,
            layer=sae.hook.layer,
            d_in=config.d_in,
            d_sae=config.d_sae,
            architecture=config.architecture,
        )

    def _tools(
        self, definition: SourceDefinition, model_dir: Path, has_sae: bool
    ) -> tuple[ToolSpec, ...]:
        """What the source offers to its model: a toy its registry, others their own features."""
        if find_toy_seed(definition) is not None:
            return demo_tools()
        if not has_sae:
            return ()
        if model_dir not in self._takes_tools:
            self._takes_tools[model_dir] = takes_tools(model_dir)
        return introspection_tools() if self._takes_tools[model_dir] else ()

    def _describe(self, definition: SourceDefinition) -> SourceInfo:
        found, problem = None, None
        try:
            found = self.finder.find(definition)
        except NotConvertedError:
            # it is converted when it is first loaded or asked: nothing to do for a person
            pass
        except EngineError as error:
            problem = f"{error.message} {error.hint}".strip()
        is_toy = find_toy_seed(definition) is not None
        tools = self._tools(definition, found.model.folder, bool(found.sae)) if found else ()
        claims = definition.claims
        sae = found.sae if found else None
        model_id, sae_id = definition.model or "", definition.sae or ""
        if definition is DEMO:
            model_id, sae_id = DEMO_MODEL_ID, DEMO_SAE_ID
        elif found is not None:
            model_id, sae_id = found.model.name, sae.located.name if sae else ""
        hook_name = sae.config.hook_name if sae else _claimed_hook(definition)
        wanted = self.wanted_dtype(definition)
        stored = found.model_config.dtype if found else None
        sizes = [size for size in (claims.model_bytes, claims.sae_bytes) if size is not None]
        return SourceInfo(
            name=definition.name,
            title=definition.title,
            model_id=model_id,
            sae_id=sae_id,
            hook_name=hook_name,
            d_in=found.model_config.d_model if found else claims.d_model,
            d_sae=sae.config.d_sae if sae else claims.d_sae,
            tool_names=tuple(tool.name for tool in tools),
            is_toy=is_toy,
            examples=DEMO_EXAMPLES if definition is DEMO else (),
            problem=problem,
            origin=definition.origin,
            layer=_layer(hook_name),
            n_layers=found.model_config.n_layers if found else claims.n_layers,
            dtype=stored if wanted == "auto" else wanted,
            model_revision=found.model.commit if found else None,
            is_gated=claims.is_gated,
            license=claims.license,
            size_bytes=sum(sizes) if sizes else None,
        )


def _is_path(place: str | None) -> bool:
    return place is not None and place.startswith(("/", ".", "~"))


def _claimed_hook(definition: SourceDefinition) -> str | None:
    if definition.sae is None:
        return None
    return definition.claims.hook_name or definition.overrides.hook_name


def _layer(hook_name: str | None) -> int | None:
    if hook_name is None:
        return None
    try:
        return parse_hook_name(hook_name).layer
    except EngineError:
        return None
