"""Coercing and refusing the values of specs, so that equal ones have one spelling.

Invariant: what is returned is finite, of one type, and within its range; all else is refused with
the range.
"""

from __future__ import annotations

from store.errors import InvalidSpecError


def set_field(instance: object, name: str, value: object) -> None:
    """Sets a field of a frozen dataclass, in its constructor."""
    object.__setattr__(instance, name, value)


def to_whole(field_name: str, value: object, low: int, high: int) -> int:
    """Coerces to int; `True`, text, fractions, NaN and values outside [low, high] are refused.

    Raises:
        InvalidSpecError: with the range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:
        raise _refused(field_name, "a whole number", value, low, high)
    if not low <= value <= high:
        raise _refused(field_name, f"between {low} and {high}", value, low, high)
    return int(value)


def to_real(field_name: str, value: object, low: float, high: float) -> float:
    """Coerces to a finite float in [low, high]; minus zero becomes zero.

    Raises:
        InvalidSpecError: with the range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _refused(field_name, "a number", value, low, high)
    # NaN is between nothing
    if not low <= value <= high:
        raise _refused(field_name, f"between {low:g} and {high:g}", value, low, high)
    return float(value) + 0.0


def _refused(
    field_name: str, wanted: str, value: object, low: float, high: float
) -> InvalidSpecError:
    return InvalidSpecError(
        field_name,
        f"{field_name} must be {wanted}, not {str(value)[:40]}.",
        f"Choose a value between {low:g} and {high:g}.",
    )
