"""The files of one source on this machine: found, read as far as their configs, checked for fit.

Invariant: what is returned has all its files, and an SAE that fits its model. No torch, no network;
weights are read only where a revision must be computed from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from engine.definitions import SaeOverrides, SourceDefinition
from engine.errors import (
    EngineError,
    GenerationCancelled,
    SourceMismatchError,
    TransferCancelled,
    UnsupportedError,
    WeightsMissingError,
)
from engine.hook_names import HookPoint, parse_hook_name
from engine.model_config import ModelConfig, read_model_config
from engine.registry import RegisteredSae, get_registered, is_registered_name
from engine.sae_config import SaeConfig, read_sae_config
from engine.sae_conversion import convert_sae, is_converted
from engine.sae_layouts import CONFIG_FILES
from engine.weights.caches import Caches, converted_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.locate import Located, Locator

_READ_AT_ONCE_BYTES = 256_000_000
"""Weights of unknown checksum up to this size are hashed while the caller waits: in a second."""


@dataclass(frozen=True, slots=True)
class SaeFolder:
    """An SAE that was found and fits.

    Attributes:
        applied: the overrides that decided how it encodes, as `;key=value`; empty if none did.
    """

    located: Located
    config: SaeConfig
    hook: HookPoint
    applied: str


@dataclass(frozen=True, slots=True)
class SourceFolders:
    """Model and SAE of a source; `sae` is None for a model without one."""

    model: Located
    model_config: ModelConfig
    sae: SaeFolder | None


class NotConvertedError(WeightsMissingError):
    """An SAE is here, but has to be converted before it can be read."""

    def __init__(self, entry: RegisteredSae, original: Located, folder: Path) -> None:
        super().__init__(
            f"The SAE {entry.name!r} is here, but not converted yet.",
            "Load the source: it is converted then, once.",
        )
        self.entry = entry
        self.original = original
        self.folder = folder


class SourceFinder:
    """Finds the files of definitions in the caches and in local folders."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._checksums = ChecksumStore(caches.records)
        self._locator = Locator(caches, self._checksums)

    @property
    def caches(self) -> Caches:
        """Where it looks."""
        return self._caches

    @property
    def checksums(self) -> ChecksumStore:
        """Where what it has hashed is noted."""
        return self._checksums

    def find(self, definition: SourceDefinition) -> SourceFolders:
        """Files and shapes of a source, without its revisions: those may take reading it whole.

        Raises:
            WeightsMissingError: if files are missing; NotConvertedError if only a conversion is.
            SourceMismatchError: if the SAE is of another width or layer than the model has.
            UnsupportedError: if model or SAE are of a kind that this engine cannot run.
            UnknownSourceError: if the registry has no SAE of that name.
        """
        model, model_config = self.find_model(definition)
        sae = self.find_sae(definition)
        if sae is not None:
            check_fit(model_config, sae.config, sae.hook)
        return SourceFolders(model, model_config, sae)

    def find_model(self, definition: SourceDefinition) -> tuple[Located, ModelConfig]:
        """The folder of a source's model, and what its config says.

        Raises:
            WeightsMissingError: if files of it are missing.
            UnsupportedError: if its config does not say its shape.
        """
        if definition.model is None:
            raise WeightsMissingError(
                "SAE_PATH is set, but MISTRAL_MODEL is not.",
                "Set MISTRAL_MODEL to the repository or folder of the model that the SAE reads.",
            )
        located = self._locator.locate(
            definition.model, "config.json", definition.model_revision, definition.name
        )
        return located, read_model_config(located.folder)

    def find_sae(self, definition: SourceDefinition) -> SaeFolder | None:
        """The folder of a source's SAE, and how it encodes; None for a model without one.

        Raises:
            WeightsMissingError: if files are missing; NotConvertedError if only a conversion is.
            SourceMismatchError: if its files are not of one SAE.
            UnsupportedError: if it is left open how it encodes, or cannot be computed.
            UnknownSourceError: if the registry has no SAE of that name.
        """
        if definition.sae is None:
            return None
        located = self._find_sae(definition, definition.sae)
        config, applied = _read_sae(located.folder, definition)
        return SaeFolder(located, config, parse_hook_name(config.hook_name), applied)

    def convert(self, missing: NotConvertedError, is_cancelled: Callable[[], bool]) -> None:
        """Makes what `find` said was missing. It takes seconds to minutes.

        Raises:
            EngineError: if it cannot be made.
            GenerationCancelled: if `is_cancelled` said so.
        """
        original = missing.original
        convert_sae(
            missing.entry, original.folder, original.commit or "", missing.folder, is_cancelled
        )

    def is_revision_at_hand(self, located: Located) -> bool:
        """Whether the revision can be told without reading much."""
        if located.commit is not None:
            return True
        n_bytes = 0
        try:
            for path in located.folder.rglob("*.safetensors"):
                if self._checksums.find_sha256(path) is None:
                    n_bytes += path.stat().st_size
        except OSError:
            return True
        return n_bytes <= _READ_AT_ONCE_BYTES

    def revision(self, located: Located) -> str:
        """The commit, or `sha256:...` of a local folder, for which it may be read whole.

        Raises:
            WeightsMissingError: if a file cannot be read.
        """
        return self._locator.revision(located)

    def _find_sae(self, definition: SourceDefinition, sae: str) -> Located:
        source, revision = definition.name, definition.sae_revision
        if not is_registered_name(sae):
            return self._locator.locate(sae, CONFIG_FILES, revision, source)
        entry = get_registered(sae)
        if not entry.needs_conversion:
            return self._locator.locate(entry.location, entry.needed, revision, source)
        folder = converted_folder(self._caches, entry.release, entry.sae_id)
        try:
            original = self._locator.locate(entry.location, entry.needed, revision, source)
        except WeightsMissingError:
            # the download may be gone: what was made of it serves
            if is_converted(folder, None):
                return self._locator.locate(sae, CONFIG_FILES, None, source)
            raise
        if not is_converted(folder, original.commit):
            raise NotConvertedError(entry, original, folder)
        return self._locator.locate(sae, CONFIG_FILES, None, source)


def finish_download(
    finder: SourceFinder, definition: SourceDefinition, is_cancelled: Callable[[], bool]
) -> None:
    """Converts the SAE of a source whose files have come, if it has to be.

    Raises:
        EngineError: if it cannot be converted.
        TransferCancelled: if `is_cancelled` said so.
    """
    try:
        finder.find(definition)
    except NotConvertedError as missing:
        try:
            finder.convert(missing, is_cancelled)
        except GenerationCancelled as error:
            raise TransferCancelled from error
    except EngineError:
        # what else is wrong with the source is told where it is shown or loaded
        return


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


def _read_sae(folder: Path, definition: SourceDefinition) -> tuple[SaeConfig, str]:
    """The SAE's config, and what of the overrides it depends on."""
    overrides = definition.overrides
    if overrides == SaeOverrides():
        return read_sae_config(folder), ""
    try:
        plain = read_sae_config(folder)
    except UnsupportedError:
        plain = None
    # what Featurebook itself presumes of an SAE gives way to what the files say
    if plain is not None and definition.origin == "builtin":
        return plain, ""
    config = read_sae_config(folder, overrides)
    return config, "" if config == plain else _applied(overrides)


def _applied(overrides: SaeOverrides) -> str:
    values = ((field.name, getattr(overrides, field.name)) for field in fields(overrides))
    return "".join(
        f";{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in sorted(values)
        if value is not None
    )
