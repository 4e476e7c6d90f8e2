"""The file of the sources that users added: read by anyone at any time, changed one at a time.

Invariant: the file is always whole, old or new; an edit changes only its own entry, comments and
hand-written entries stay as they are, and two processes that edit at once lose nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from engine.definitions import SourceDefinition
from engine.errors import EngineError, UnknownSourceError
from engine.source_entries import (
    InvalidSourceError,
    parse_entries,
    parse_entry,
    read_tables,
    to_toml,
)

_LOCK_TIMEOUT_S = 10.0
_HEADER = re.compile(r"""^\s*\[\s*sources\s*\.\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*[\].]""")
_ANY_HEADER = re.compile(r"^\s*\[")


class SourceFileError(EngineError):
    """The file of added sources cannot be read or written."""


class SourceFile:
    """A TOML file with one `[sources.NAME]` a source. It need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._read: tuple[dict[str, SourceDefinition], str | None] = ({}, None)

    def read(self) -> tuple[dict[str, SourceDefinition], str | None]:
        """Definitions by name, and one sentence on what is wrong with the file, if anything is.

        An entry that is wrong is left out; the others count.
        """
        with self._lock:
            try:
                stamp = _stamp(self.path)
                if stamp is None:
                    self._read = ({}, None)
                elif stamp != self._stamp:
                    self._read = self._parse(self.path.read_text(encoding="utf-8"))
                self._stamp = stamp
            except (OSError, ValueError) as error:
                self._stamp = None
                return {}, self._problem(error)
            return self._read

    def check(self, definition: SourceDefinition) -> SourceDefinition:
        """The definition as it would be read back.

        Raises:
            InvalidSourceError: if a value has the wrong form.
        """
        try:
            content = tomllib.loads(to_toml(definition))
        except (ValueError, TypeError) as error:
            raise InvalidSourceError(
                definition.name, "", "a value of it cannot be written to a file"
            ) from error
        return parse_entry(definition.name, content["sources"][definition.name], "user")

    def add(self, definition: SourceDefinition) -> None:
        """Writes an entry, in place of one of the same name.

        Raises:
            SourceFileError: if the file cannot be read or written.
        """
        with self._editing() as text:
            before = _names(text, self)
            rest = _without(text, definition.name) if definition.name in before else text
            separator = (
                "" if not rest or rest.endswith("\n\n") else "\n" * (2 - rest.endswith("\n"))
            )
            changed = f"{rest}{separator}{to_toml(definition)}"
            self._write(changed, {*before, definition.name})

    def remove(self, name: str) -> None:
        """Takes the entry out.

        Raises:
            UnknownSourceError: if there is none of this name.
            SourceFileError: if the file cannot be read or written.
        """
        with self._editing() as text:
            before = _names(text, self)
            if name not in before:
                raise UnknownSourceError(name, tuple(before))
            self._write(_without(text, name), before - {name})

    @contextlib.contextmanager
    def _editing(self) -> Iterator[str]:
        """The file's text now, while nobody else changes it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock", timeout=_LOCK_TIMEOUT_S):
                yield self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        except Timeout as error:
            raise SourceFileError(
                f"The file {self.path} is being changed by another process.", "Try again."
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise SourceFileError(
                f"The file {self.path} cannot be changed: {_reason(error)}.",
                "Set FEATUREBOOK_SOURCES to a file that this user may write.",
            ) from error

    def _write(self, text: str, names: set[str]) -> None:
        """Puts a text in the file's place, if it holds exactly these sources."""
        if _names(text, self) != names:
            raise SourceFileError(
                f"The file {self.path} is written in a way that cannot be edited here.",
                "Change it by hand, one [sources.NAME] a source.",
            )
        # a link stays a link: what it leads to is replaced
        target = self.path.resolve()
        new = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            with new.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)

    def _parse(self, text: str) -> tuple[dict[str, SourceDefinition], str | None]:
        try:
            return parse_entries(text, "user"), None
        except InvalidSourceError as error:
            good = {}
            for name, entry in read_tables(text).items():
                with contextlib.suppress(InvalidSourceError):
                    good[name] = parse_entry(name, entry, "user")
            return good, f"{error.message} It stands in {self.path}. {error.hint}"

    def _problem(self, error: OSError | ValueError) -> str:
        return f"The file {self.path} cannot be read, its sources are left out: {_reason(error)}."


def _names(text: str, file: SourceFile) -> set[str]:
    try:
        return set(read_tables(text))
    except ValueError as error:
        raise SourceFileError(
            f"The file {file.path} is broken: {_reason(error)}.",
            "Mend it by hand, or move it away; nothing was changed.",
        ) from error


def _without(text: str, name: str) -> str:
    """The text without the tables of one source; what stands above a table belongs to it not."""
    kept, is_inside = [], False
    for line in text.splitlines(keepends=True):
        if header := _HEADER.match(line):
            is_inside = name in header.groups()
        elif _ANY_HEADER.match(line):
            is_inside = False
        if not is_inside:
            kept.append(line)
    return "".join(kept)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
