"""Numbers as the subcommands say them."""

from __future__ import annotations

from rich.filesize import decimal


def exact_bytes(n_bytes: int) -> str:
    """`48,022,792,280 bytes (48.0 GB)`; a small number needs no second form."""
    shown = decimal(n_bytes)
    return shown if n_bytes < 1000 else f"{n_bytes:,} bytes ({shown})"


def count(number: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`.

    Args:
        many: the plural where it is not `one` with an s.
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
