"""The project's own Python files, parsed; what the tests about the source itself read.

Invariant: files that git does not track yet are among them, so that a rule holds before a commit.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dashboard", "engine", "store", "scripts")


@cache
def list_python_files(*folders: str) -> tuple[Path, ...]:
    """Returns every .py file below these folders of the project, sorted, relative to its root."""
    return tuple(
        sorted(
            path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py")
        )
    )


@cache
def parse(path: Path) -> ast.Module:
    """Returns the syntax tree of one file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


def module_name(path: Path) -> str:
    """Returns `engine.demo` for engine/demo/__init__.py, `engine.api` for engine/api.py."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def iter_imports(path: Path) -> Iterator[str]:
    """Yields the full name of every module, or name of a module, that a file imports anywhere."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def iter_texts(path: Path) -> Iterator[ast.Constant]:
    """Yields every string literal of a file that is not a docstring, the parts of f-strings too."""
    tree = parse(path)
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node
