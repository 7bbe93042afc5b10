"""Dotted paths through objects: ``movie.audiences``, ``profile.phone``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.exceptions import ObjectDoesNotExist

from dsn_core.exceptions import ConfigurationError


def follow(start: Any, path: str, *, missing_key_is_none: bool = False) -> Any:
    """Walk ``path`` from ``start``: mapping keys, then attributes. None where a step finds None.

    A one-to-one relation without a row counts as None. Names that begin with an underscore are refused, and nothing is
    called, so that a path typed by an operator cannot run code.
    """
    return walk(start, path.split("."), path, missing_key_is_none=missing_key_is_none)


def walk(
    start: Any,
    steps: Iterable[str],
    path: str,
    *,
    missing_key_is_none: bool = False,
    may_read: Callable[[Any, str], bool] = lambda owner, step: True,
) -> Any:
    """:func:`follow` for the ``steps`` of ``path`` that start at ``start``.

    ``may_read`` is called with each value and the next step, before that step is read.
    """
    value = start
    for step in steps:
        if not step or step.startswith("_"):
            raise ConfigurationError(f"{path!r} is not a path: a step is empty or begins with an underscore.")
        if value is None:
            return None
        if not may_read(value, step):
            raise ConfigurationError(f"The path {path!r} is refused: {step!r} is sensitive, and no path reads it.")
        if isinstance(value, Mapping):
            if step not in value:
                if missing_key_is_none:
                    return None
                raise ConfigurationError(f"{path!r} cannot be followed: there is no {step!r}.")
            value = value[step]
            continue
        try:
            value = getattr(value, step)
        except ObjectDoesNotExist:
            return None
        except AttributeError as error:
            raise ConfigurationError(
                f"{path!r} cannot be followed: {type(value).__name__} has no attribute {step!r}."
            ) from error
    return value
