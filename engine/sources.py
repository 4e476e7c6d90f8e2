"""Every source that this installation knows: built in, from the settings, and added by users.

Invariant: a name means one source; what users added never hides a built-in one, and a file that
cannot be read costs its own sources only. Nothing is looked up on the hub.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from engine.definitions import SaeOverrides, SourceDefinition
from engine.demo_source import DEMO
from engine.settings import EngineSettings
from engine.source_entries import InvalidSourceError, parse_entries
from engine.source_file import SourceFile

CUSTOM = "custom"


@cache
def _builtin() -> dict[str, SourceDefinition]:
    text = files("engine").joinpath("sources.toml").read_text(encoding="utf-8")
    return {DEMO.name: DEMO, **parse_entries(text, "builtin")}


def _custom(settings: EngineSettings) -> dict[str, SourceDefinition]:
    """The source that MISTRAL_MODEL and SAE_PATH define, if either is set."""
    if settings.mistral_model is None and settings.sae_path is None:
        return {}
    return {
        CUSTOM: SourceDefinition(
            name=CUSTOM,
            title=f"Custom: {Path(settings.mistral_model or 'no model').name}",
            model=settings.mistral_model,
            sae=settings.sae_path,
            overrides=SaeOverrides(
                hook_name=settings.sae_hook_name,
                activation=settings.sae_activation,
                k=settings.sae_k,
            ),
            origin="settings",
        )
    }


class NamedSources:
    """The definitions now: what users add, here or in another process, appears at the next look."""

    def __init__(self, settings: EngineSettings) -> None:
        self._fixed = _builtin() | _custom(settings)
        self._file = SourceFile(settings.featurebook_sources)
        self.default_name = settings.featurebook_source
        if CUSTOM in self._fixed and "featurebook_source" not in settings.model_fields_set:
            self.default_name = CUSTOM

    def definitions(self) -> dict[str, SourceDefinition]:
        """All definitions by name, the default one first."""
        added, _ = self._file.read()
        known = self._fixed | {
            name: definition for name, definition in added.items() if not self._is_taken(name)
        }
        return dict(sorted(known.items(), key=lambda item: item[0] != self.default_name))

    def problem(self) -> str | None:
        """One sentence if the file of added sources, or an entry of it, cannot be used."""
        added, problem = self._file.read()
        taken = [name for name in added if self._is_taken(name)]
        if problem is None and taken:
            return (
                f"The source {taken[0]!r} of {self._file.path} is left out: "
                "a source of Featurebook's own has that name."
            )
        return problem

    def check(self, definition: SourceDefinition) -> SourceDefinition:
        """The definition as it would be saved.

        Raises:
            InvalidSourceError: if a value has the wrong form, or the name is taken.
        """
        if self._is_taken(definition.name):
            raise InvalidSourceError(
                definition.name,
                "name",
                "a source of Featurebook's own has that name",
                "Choose another name.",
            )
        return self._file.check(definition)

    def add(self, definition: SourceDefinition) -> None:
        """Saves a definition, in place of one of that name that users added before.

        Raises:
            InvalidSourceError: if it is not as it must be.
            EngineError: if the file cannot be read or written; it is then as it was.
        """
        self._file.add(self.check(definition))

    def remove(self, name: str) -> None:
        """Takes out a source that users added.

        Raises:
            UnknownSourceError: if there is none of this name.
            InvalidSourceError: if it is not one that users added.
            EngineError: if the file cannot be read or written; it is then as it was.
        """
        if self._is_taken(name):
            raise InvalidSourceError(
                name, "name", "it is not one that users added", "Only added sources can be removed."
            )
        self._file.remove(name)

    def _is_taken(self, name: str) -> bool:
        return name in self._fixed or name == CUSTOM
