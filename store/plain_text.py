"""Texts that people and methods write into the store: checked, and taken as they are.

Invariant: what passes is valid Unicode of bounded length; markup in it is characters like others.
"""

from __future__ import annotations

import json

from store.errors import InvalidSpecError
from store.specs import is_storable

_MAX_AUTHOR_CHARS = 200


def checked_line(field: str, text: str, most: int, what: str, is_needed: bool = True) -> str:
    """The text on one line, its white space made single spaces.

    Args:
        field: name of the argument, for the error. what: of the thing, in its message.
        most: characters that it may have as it came.

    Raises:
        InvalidSpecError: if it is too long, not valid Unicode, or empty where it is needed.
    """
    if len(text) > most:
        raise InvalidSpecError(
            field,
            f"{what} has {len(text):,} characters; at most {most:,} are taken.",
            "Shorten it.",
        )
    if not is_storable(text):
        raise InvalidSpecError(field, f"{what} is not valid Unicode text.", "Type it again.")
    line = " ".join(text.split())
    if is_needed and not line:
        raise InvalidSpecError(field, f"{what} is empty.", "Write something first.")
    return line


def checked_json(field: str, text: str, most: int, what: str) -> str:
    """The text, which is JSON as databases take it, without NaN.

    Raises:
        InvalidSpecError: if it is too long, or no JSON.
    """
    if len(text) > most:
        raise InvalidSpecError(
            field,
            f"{what} has {len(text):,} characters; at most {most:,} are taken.",
            "Shorten it.",
        )

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidSpecError(field, f"{what} is not valid JSON.") from error
    if not is_storable(text):
        raise InvalidSpecError(field, f"{what} is not valid Unicode text.")
    return text


def author_name(name: str) -> str:
    """A name that only informs: never a reason not to store what it stands beside."""
    return name[:_MAX_AUTHOR_CHARS].encode("utf-8", "replace").decode("utf-8")
