"""Comparing an answer with what is true: normalised words, token F1, numbers, dates.

Invariant: no function raises on any text, and an empty answer matches nothing.

Source: normalisation and token F1 as in SQuAD, https://arxiv.org/abs/1606.05250.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

Match = Literal["exact", "contained", "number", "date", "f1", "none"]

MIN_F1 = 0.8
"""Share of common words from which an answer that is not equal still counts as the gold one."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w.])[-+]?\d+(?:\.\d+)?")
_MONTHS = "january february march april may june july august september october november december"
_MONTH = "|".join([*_MONTHS.split(), *(name[:3] for name in _MONTHS.split())])
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTH})\.?,? \d{{4}}"
    rf"|(?:{_MONTH})\.? \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}",
    re.IGNORECASE,
)
_DATE_FORMATS = ("%Y-%m-%d", "%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y")


@dataclass(frozen=True, slots=True)
class GoldMatch:
    """How an answer agrees with what is true.

    Attributes:
        how: the rule that found it, or `none`.
        matched: the gold text or alias that it agrees with; None if it does with none.
        f1: the best token F1 over all of them, 0 to 1.
    """

    how: Match
    matched: str | None
    f1: float


def match_gold(answer: str, gold: str, aliases: Sequence[str] = ()) -> GoldMatch:
    """Compares an answer with a gold text and its aliases.

    A gold text that is a number or a date is compared as one, and in no other way: the year 19 is
    not in 1997.

    Args:
        answer: what was said, a sentence or a word.
        gold: what is true.
        aliases: other ways of writing that.
    """
    best = GoldMatch("none", None, 0.0)
    for wanted in (gold, *aliases):
        found = _match_one(answer, wanted)
        if found.how != "none":
            return found
        best = max(best, found, key=lambda match: match.f1)
    return best


def normalise(text: str) -> str:
    """Lower case, without accents, punctuation, articles and runs of blanks."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(
        character if character.isalnum() else " "
        for character in plain
        if not unicodedata.combining(character)
    )
    return " ".join(_ARTICLES.sub(" ", kept).split())


def token_f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall of the words that both have, 0 to 1."""
    left, right = normalise(answer).split(), normalise(gold).split()
    n_common = sum((Counter(left) & Counter(right)).values())
    if not n_common:
        return 0.0
    return 2 * n_common / (len(left) + len(right))


def find_numbers(text: str) -> tuple[float, ...]:
    """The numbers in a text, in order; thousands may have commas."""
    return tuple(float(match.replace(",", "")) for match in _NUMBER.findall(text))


def find_dates(text: str) -> tuple[date, ...]:
    """The whole dates in a text, in order: 1999-03-12, 12 March 1999, March 12, 1999."""
    return tuple(found for match in _DATE.findall(text) if (found := _to_date(match)) is not None)


def _match_one(answer: str, gold: str) -> GoldMatch:
    said, wanted = normalise(answer), normalise(gold)
    f1 = token_f1(answer, gold)
    if not wanted:
        # a gold text of signs alone, such as "+"
        is_equal = bool(gold.strip()) and answer.strip() == gold.strip()
        return GoldMatch("exact" if is_equal else "none", gold if is_equal else None, f1)
    if said == wanted:
        return GoldMatch("exact", gold, f1)
    dates, numbers = find_dates(gold), find_numbers(gold)
    if dates and _DATE.sub("", gold).strip(" .,") == "":
        is_equal = dates[0] in find_dates(answer)
        return GoldMatch("date" if is_equal else "none", gold if is_equal else None, f1)
    if numbers and _NUMBER.sub("", gold).strip(" .,") == "":
        is_equal = numbers[0] in find_numbers(_DATE.sub(" ", answer))
        return GoldMatch("number" if is_equal else "none", gold if is_equal else None, f1)
    if f" {wanted} " in f" {said} ":
        return GoldMatch("contained", gold, f1)
    if f1 >= MIN_F1:
        return GoldMatch("f1", gold, f1)
    return GoldMatch("none", None, f1)


def _to_date(text: str) -> date | None:
    plain = re.sub(r"(\d)(?:st|nd|rd|th)\b", r"\1", text, flags=re.IGNORECASE)
    plain = " ".join(re.sub(r"[.,]|\bof\b", " ", plain, flags=re.IGNORECASE).split())
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(plain, form).date()
        except ValueError:
            continue
    return None
