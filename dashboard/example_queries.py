"""The example queries of the SQL page, read from the data file beside this module.

Invariant: no SQL in code; the file holds titles and statements and nothing else.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("example_queries.toml")


@dataclass(frozen=True, slots=True)
class ExampleQuery:
    """A question and the statement that answers it."""

    title: str
    sql: str


def load_example_queries() -> tuple[ExampleQuery, ...]:
    """All examples, in the order of the file."""
    content = tomllib.loads(_FILE.read_text("utf-8"))
    return tuple(ExampleQuery(item["title"], item["sql"].strip()) for item in content["query"])
