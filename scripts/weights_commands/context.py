"""What every subcommand of scripts/weights.py works on: settings, caches, definitions, a console.

Invariant: making a context opens no connection and changes no file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rich.console import Console

from engine.definitions import SourceDefinition
from engine.errors import UnknownSourceError
from engine.settings import EngineSettings
from engine.sources import NamedSources
from engine.weights.caches import Caches, find_caches
from engine.weights.checksums import ChecksumStore

if TYPE_CHECKING:
    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = argparse.Action

_PLAIN_WIDTH = 160
"""Columns of a table that goes to a file, which has no width of its own."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a subcommand is given.

    Attributes:
        definitions: every source by its name, the built-in ones and the user's.
        problem: one sentence if some of the user's are left out, because they cannot be read.
        console: standard output; prints text as it is, without interpreting markup in it.
    """

    settings: EngineSettings
    caches: Caches
    checksums: ChecksumStore
    definitions: Mapping[str, SourceDefinition]
    problem: str | None
    console: Console

    def definition(self, name: str) -> SourceDefinition:
        """The source of this name.

        Raises:
            UnknownSourceError: if there is none.
        """
        if name not in self.definitions:
            raise UnknownSourceError(name, tuple(self.definitions))
        return self.definitions[name]


RunCommand: TypeAlias = Callable[[argparse.Namespace, Context], int]


def make_context(settings: EngineSettings | None = None) -> Context:
    """Reads the settings, where none are given, and what they point to.

    Raises:
        EngineError: if a cache is no folder.
    """
    settings = settings or EngineSettings()
    caches = find_caches(
        settings.model_cache_dir,
        settings.hf_home,
        settings.hf_hub_cache,
    )
    named = NamedSources(settings)
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return Context(
        settings=settings,
        caches=caches,
        checksums=ChecksumStore(caches.records),
        definitions=named.definitions(),
        problem=named.problem(),
        console=console,
    )
