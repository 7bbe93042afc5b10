"""Tests of which methods a plugin class overrides."""

from __future__ import annotations

import inspect

from dsn_core.exceptions import ContractError


def overrides(cls: type, base: type, method: str) -> bool:
    """Whether ``cls`` has its own ``method`` instead of that of ``base``."""
    return inspect.getattr_static(cls, method) is not inspect.getattr_static(base, method)


def require_override(cls: type, base: type, *methods: str) -> None:
    """Raise :class:`~dsn_core.exceptions.ContractError` unless one of ``methods`` is overridden."""
    if not any(overrides(cls, base, method) for method in methods):
        names = " nor ".join(f"{method}()" for method in methods)
        raise ContractError(
            f"{cls.__module__}.{cls.__qualname__} overrides {'neither ' if len(methods) > 1 else 'no '}{names}: "
            f"it would do nothing. Override {' or '.join(f'{method}()' for method in methods)}."
        )
    for method in methods:
        function = getattr(cls, method)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ContractError(
                f"{cls.__module__}.{cls.__qualname__}.{method}() is async, and would never be awaited: runners call it "
                "in a thread. Make it a plain function (asgiref's async_to_sync calls async code from there)."
            )


def not_overridden(instance: object, method: str) -> ContractError:
    """The error for a method that a subclass must override."""
    return ContractError(f"{type(instance).__module__}.{type(instance).__qualname__} does not override {method}().")
