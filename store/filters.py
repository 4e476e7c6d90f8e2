"""The little language that chooses runs and features: `tools:yes AND (n_tokens>50 OR by:ada)`.

Invariant: a text parses to a tree of known fields with values of their kinds, or is refused with
the place and what may stand there. Nothing of the text becomes SQL: filter_sql.py writes templates
of its own, with the values as parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NoReturn

from store.errors import InvalidSpecError
from store.filter_fields import FilterField, fields_of
from store.specs import is_storable

FilterKind = Literal["runs", "features"]
Value = str | float | bool | datetime | tuple[float, float]

MAX_FILTER_CHARS = 20_000
_MAX_DEPTH = 32
_MAX_TERMS = 200

_TERM = re.compile(r"(?P<field>[A-Za-z_]+)(?:\s*(?P<op><=|>=|<|>|=)\s*|(?P<colon>:)\s*)")
_WORD = re.compile(r'[^\s()"]+')
_QUOTED = re.compile(r'"(?P<text>(?:[^"]|"")*)"')
_SPACE = re.compile(r"\s*")
_YES = frozenset("yes true on 1 y".split())
_NO = frozenset("no false off 0 n".split())


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: `density<0.01`; or words of a text, which have the field `text`.

    Attributes:
        operator: `=`, `<`, `<=`, `>`, `>=`, or `..` with a pair of numbers, both included.
    """

    field: FilterField
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Group:
    """`and` and `or` of several parts, or `not` of one."""

    operator: Literal["and", "or", "not"]
    parts: tuple[Node, ...]


Node = Term | Group


@dataclass(frozen=True, slots=True)
class FilterTree:
    """A filter as it was understood; `root` is None where everything passes."""

    kind: FilterKind
    root: Node | None

    def terms(self, *names: str) -> Iterator[Term]:
        """Its conditions on these fields, or all of them."""
        stack = [] if self.root is None else [self.root]
        while stack:
            node = stack.pop()
            if isinstance(node, Group):
                stack.extend(reversed(node.parts))
            elif not names or node.field.name in names:
                yield node


def parse_filter(text: str, kind: FilterKind) -> FilterTree:
    """Reads a filter of runs or of features; an empty one lets everything pass.

    Raises:
        InvalidSpecError: says where it cannot be read, and what may stand there.
    """
    if len(text) > MAX_FILTER_CHARS:
        raise InvalidSpecError(
            "filter",
            f"The filter has {len(text):,} characters; at most {MAX_FILTER_CHARS:,} are taken.",
            "Shorten it, or name what you mean by a list or a set.",
        )
    if not is_storable(text):
        raise InvalidSpecError("filter", "The filter is not valid Unicode text.")
    parser = _Parser(text, kind)
    return FilterTree(kind, parser.read_all())


class _Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str, kind: FilterKind) -> None:
        self._text = text
        self._at = 0
        self._n_terms = 0
        self._fields = {field.name: field for field in fields_of(kind)}
        self._kind = kind

    def read_all(self) -> Node | None:
        self._skip()
        if self._at == len(self._text):
            return None
        node = self._read_any(0)
        if self._at < len(self._text):
            self._refuse("A parenthesis is closed that was never opened.", "Take it out.")
        return node

    def _read_any(self, depth: int) -> Node:
        """Parts with OR between them."""
        if depth > _MAX_DEPTH:
            self._refuse("The filter is nested too deeply.", "Take parentheses out.")
        parts = [self._read_every(depth)]
        while self._take_keyword("OR"):
            parts.append(self._read_every(depth))
        return parts[0] if len(parts) == 1 else Group("or", tuple(parts))

    def _read_every(self, depth: int) -> Node:
        """Parts with AND between them, or nothing."""
        parts = [self._read_one(depth)]
        while True:
            if self._take_keyword("AND"):
                parts.append(self._read_one(depth))
            elif self._is_at_end_of_part():
                return parts[0] if len(parts) == 1 else Group("and", tuple(parts))
            else:
                parts.append(self._read_one(depth))

    def _read_one(self, depth: int) -> Node:
        is_negated = False
        while self._take_keyword("NOT"):
            is_negated = not is_negated
        node = self._read_bracket(depth) if self._take("(") else self._read_term()
        return Group("not", (node,)) if is_negated else node

    def _read_bracket(self, depth: int) -> Node:
        node = self._read_any(depth + 1)
        if not self._take(")"):
            self._refuse("A parenthesis is not closed.", "Write ) where it ends.")
        return node

    def _read_term(self) -> Term:
        self._n_terms += 1
        if self._n_terms > _MAX_TERMS:
            self._refuse(f"The filter has more than {_MAX_TERMS} conditions.", "Use fewer.")
        if self._is_at_end_of_part():
            self._refuse(
                "A condition is missing.", "Write a word, or a field and a value: tools:yes."
            )
        found = _TERM.match(self._text, self._at)
        if not found:
            return Term(self._fields["text"], "=", self._read_value("text"))
        start, name = self._at, found["field"].lower()
        field = self._fields.get(name)
        if field is None or name == "text":
            self._refuse(
                f"There is no field {found['field'][:40]!r} of {self._kind}.",
                f"The fields are {', '.join(key for key in self._fields if key != 'text')}; put"
                " quotes around words to search for them.",
            )
        self._at = found.end()
        operator = found["op"] or "="
        if operator != "=" and field.kind not in ("number", "feature"):
            self._at = start
            self._refuse(f"{name} is not a number.", f"Write {field.example}.")
        text = self._read_value(name)
        try:
            return _term(field, operator, text)
        except ValueError:
            self._at = start
            self._refuse(
                f"{name} takes {field.takes}, not {text[:40]!r}.", f"Write {field.example}."
            )

    def _read_value(self, name: str) -> str:
        if self._text.startswith('"', self._at):
            found = _QUOTED.match(self._text, self._at)
            if not found:
                self._refuse("A quote is not closed.", 'Write " where it ends.')
            value = found["text"].replace('""', '"')
        else:
            found = _WORD.match(self._text, self._at)
            if not found:
                self._refuse(f"{name} has no value.", "Write it after the field, without a space.")
            value = found[0]
        self._at = found.end()
        self._skip()
        if not value.strip():
            self._refuse(f"{name} has an empty value.", "Write what to look for.")
        return value

    def _is_at_end_of_part(self) -> bool:
        return (
            self._at == len(self._text)
            or self._text[self._at] == ")"
            or self._find_keyword("OR")
            or self._find_keyword("AND")
        )

    def _find_keyword(self, word: str) -> bool:
        found = _WORD.match(self._text, self._at)
        return found is not None and found[0] == word

    def _take_keyword(self, word: str) -> bool:
        if not self._find_keyword(word):
            return False
        self._at += len(word)
        self._skip()
        return True

    def _take(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        self._skip()
        return True

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _refuse(self, message: str, hint: str) -> NoReturn:
        near = self._text[self._at : self._at + 20]
        place = f"at character {self._at + 1}, {near!r}" if near.strip() else "at its end"
        raise InvalidSpecError("filter", f"{message[:-1]} ({place}).", hint)


def _term(field: FilterField, operator: str, text: str) -> Term:
    """The condition, its value read as its field's kind.

    Raises:
        ValueError: if the value is of another kind.
    """
    if field.kind in ("number", "feature"):
        first, dots, last = text.partition("..")
        if dots:
            if operator != "=":
                raise ValueError(text)
            return Term(field, "..", (_number(first), _number(last)))
        return Term(field, operator, _number(text))
    if field.kind == "flag":
        return Term(field, "=", _flag(text))
    if field.kind == "date":
        return Term(field, "=", _moment(text))
    if field.choices and text.lower() not in field.choices:
        raise ValueError(text)
    return Term(field, "=", text.lower() if field.choices else text)


def _number(text: str) -> float:
    is_share = text.endswith("%")
    number = float(text.removesuffix("%"))
    if not math.isfinite(number):
        raise ValueError(text)
    return number / 100 if is_share else number


def _flag(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(text)


def _moment(text: str) -> datetime:
    """A date, or a date and a time, as UTC without a zone."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError as error:
        raise ValueError(text) from error
