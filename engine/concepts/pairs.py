"""Pairs of texts that differ in a concept, and the templates that they stand in.

Invariant: a pair set has at least one pair, no blank text, and templates that each hold `{text}`
once; whoever wants a vector from it asks `check_size` too. Nothing here knows of models.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from engine.errors import RequestError

Form = Literal["text", "chat"]
Reading = Literal["mean", "last"]

METHOD_VERSION = "1"
"""Raised when the same pairs would give other vectors."""
MIN_PAIRS = 20
MAX_PAIRS = 5_000
MAX_TEMPLATES = 20
MAX_FILE_BYTES = 8 * 1024 * 1024
PLAIN_TEMPLATE = "{text}"
_HOLE = "{text}"
_FILE_HINT = (
    'Write one pair a line, as {"positive": "...", "negative": "..."} or with a tab between the '
    "two texts."
)


class PairsError(RequestError):
    """Pairs that no vector can be made of."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts, as alike as possible but for the concept: with it, and without."""

    positive: str
    negative: str


@dataclass(frozen=True, slots=True)
class PairSet:
    """Pairs of one concept, and how they are read.

    Attributes:
        templates: texts with `{text}`; every pair is read in each of them.
        form: `text` reads a text as it is; `chat` as the question of a chat that awaits its answer.
        reading: where the residual is taken: the `mean` over the text's own tokens (what a template
            puts before them left out), or the `last` token.
        lexicon: words that show the concept in an answer; empty where none was given.

    Raises:
        PairsError: if there is no pair, too many, or a blank text; for a template without its hole.
    """

    name: str
    pairs: tuple[Pair, ...]
    templates: tuple[str, ...] = (PLAIN_TEMPLATE,)
    form: Form = "text"
    reading: Reading = "mean"
    lexicon: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.pairs:
            raise PairsError("There are no pairs.", _FILE_HINT)
        if len(self.pairs) > MAX_PAIRS:
            raise PairsError(
                f"There are {len(self.pairs):,} pairs; at most {MAX_PAIRS:,} are taken.",
                "Take a sample of them.",
            )
        for number, pair in enumerate(self.pairs, 1):
            if not pair.positive.strip() or not pair.negative.strip():
                raise PairsError(f"Pair {number} has a blank text.", "Fill in both of its sides.")
        if not 1 <= len(self.templates) <= MAX_TEMPLATES:
            raise PairsError(f"Between 1 and {MAX_TEMPLATES} templates are taken.")
        for template in self.templates:
            if template.count(_HOLE) != 1:
                raise PairsError(
                    f"The template {template[:60]!r} must hold {_HOLE} once.",
                    f"Write {_HOLE} where the texts of the pairs go.",
                )
        if self.form not in get_args(Form) or self.reading not in get_args(Reading):
            raise PairsError(
                "Texts are read as text or chat, and at mean or last.",
                "Choose one of each.",
            )

    def check_size(self) -> None:
        """Refuses a set that is too small for a vector.

        Raises:
            PairsError: with fewer than 20 pairs.
        """
        if len(self.pairs) < MIN_PAIRS:
            raise PairsError(
                f"There are {len(self.pairs)} pairs; a vector is made from at least {MIN_PAIRS}.",
                "Write more pairs: a few of them give the direction of their wording.",
            )


def read_pair_rows(data: bytes | str) -> tuple[Pair, ...]:
    """The pairs in a typed text or a file: JSON lines, a JSON list, or two columns with a tab.

    In text lines, ` | ` between the two texts does as well as a tab. Blank lines and lines that
    begin with `#` are skipped.

    Raises:
        PairsError: if it is too large, is no UTF-8, or has a line that is no pair.
    """
    text = _decoded(data)
    if text.lstrip().startswith("["):
        return tuple(_to_pair(row, number) for number, row in enumerate(_json(text, "list"), 1))
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip("\r\n")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line.lstrip().startswith("{"):
            pairs.append(_to_pair(_json(line, f"line {number}"), number))
            continue
        separator = "\t" if "\t" in line else " | "
        parts = [part.strip() for part in line.split(separator)]
        if len(parts) != 2:
            raise PairsError(f"Line {number} is no pair of texts.", _FILE_HINT)
        pairs.append(Pair(*parts))
    return tuple(pairs)


def read_pair_toml(data: bytes | str) -> PairSet:
    """A whole set from TOML: name, `[[pairs]]` with positive and negative, templates and the rest.

    Raises:
        PairsError: if it is too large, is no TOML, or a value is not as it must be.
    """
    try:
        content = tomllib.loads(_decoded(data))
    except tomllib.TOMLDecodeError as error:
        raise PairsError(f"The file of pairs is no TOML: {error}.", "Correct that line.") from error
    known = {"name", "pairs", "templates", "form", "reading", "lexicon"}
    if unknown := sorted(content.keys() - known):
        raise PairsError(
            f"The file of pairs has the unknown key {unknown[0]!r}.",
            f"Known keys: {', '.join(sorted(known))}.",
        )
    rows = content.get("pairs", [])
    if not isinstance(rows, list):
        raise PairsError("`pairs` must be a list.", "Write each pair as [[pairs]].")
    return PairSet(
        name=str(content.get("name", "pairs")),
        pairs=tuple(_to_pair(row, number) for number, row in enumerate(rows, 1)),
        templates=_texts(content, "templates") or (PLAIN_TEMPLATE,),
        form=content.get("form", "text"),
        reading=content.get("reading", "mean"),
        lexicon=_texts(content, "lexicon"),
    )


def pair_up(positive: Sequence[str], negative: Sequence[str]) -> tuple[Pair, ...]:
    """Pairs of two cohorts of texts that do not belong together one by one, in their order.

    The longer cohort is cut: a mean over unequal numbers has no halves to compare.
    """
    return tuple(
        Pair(left, right) for left, right in zip(positive, negative, strict=False) if left and right
    )


def pair_digest(pairs: PairSet) -> str:
    """20 hexadecimal digits of everything that decides the vectors of a pair set."""
    texts = [[pair.positive, pair.negative] for pair in pairs.pairs]
    content = json.dumps([texts, pairs.templates, pairs.form, pairs.reading, METHOD_VERSION])
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def _decoded(data: bytes | str) -> str:
    size = len(data)
    if size > MAX_FILE_BYTES:
        raise PairsError(
            f"The pairs take {size:,} bytes; at most {MAX_FILE_BYTES:,} are read.",
            "Take a sample of them.",
        )
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PairsError("The file of pairs is not text in UTF-8.", "Save it as UTF-8.") from error


def _json(text: str, where: str) -> list[object]:
    try:
        content: list[object] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PairsError(f"The pairs are no JSON ({where}).", _FILE_HINT) from error
    return content


def _to_pair(row: object, number: int) -> Pair:
    if isinstance(row, Mapping):
        row = [row.get("positive"), row.get("negative")]
    if not isinstance(row, list) or len(row) != 2 or not all(isinstance(t, str) for t in row):
        raise PairsError(f"Pair {number} is no pair of texts.", _FILE_HINT)
    return Pair(str(row[0]), str(row[1]))


def _texts(content: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = content.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise PairsError(f"`{key}` must be a list of texts.", "Write it in square brackets.")
    return tuple(value)
