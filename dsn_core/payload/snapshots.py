"""Model instances as they were when a signal fired."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NoReturn

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Field, ImageField, Model

from dsn_core import conf
from dsn_core.exceptions import PayloadError, SnapshotError
from dsn_core.payload import sensitive

_rebuilding: ContextVar[bool] = ContextVar("dsn_rebuilding", default=False)


def rebuilding() -> bool:
    """Whether an instance is being rebuilt here and now: its ``post_init`` is no news to anybody."""
    return _rebuilding.get()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    token = _rebuilding.set(True)
    try:
        yield
    finally:
        _rebuilding.reset(token)


def take(instance: Model, secrets: frozenset[str], encode: Callable[[Any, Field[Any, Any]], Any]) -> dict[str, Any]:
    """JSON data for ``instance``: its loaded concrete fields, without a query.

    Deferred fields stay deferred, expressions that the database has yet to answer as well;
    sensitive fields are named, and their values left out.
    """
    blank = sensitive.attnames(instance.__class__, secrets)
    held, values = instance.__dict__, {}
    for field in instance._meta.concrete_fields:
        name = field.attname
        if name in held and name not in blank and not hasattr(value := held[name], "resolve_expression"):
            values[name] = encode(value, field)
    data: dict[str, Any] = {"model": instance._meta.label_lower, "db": instance._state.db, "v": values}
    if blank:
        data["blank"] = sorted(blank)
    return data


def restore(data: dict[str, Any], decode: Callable[[Any, Field[Any, Any]], Any]) -> Model:
    """The instance that :func:`take` saw, made without a query. It refuses ``save()`` and ``delete()``.

    Columns that the model has lost since are dropped; ones that it has gained are read from the
    database when somebody asks for them, unless they are sensitive.
    """
    model = find_model(data["model"])
    values = data["v"]
    blank = sensitive.attnames(model, sensitive.names(conf.current())).union(data.get("blank", ()))
    names, row, images = [], [], {}
    for field in model._meta.concrete_fields:
        if field.attname in blank:
            # Blank, not deferred: a deferred password would be read from the database on access.
            names.append(field.attname)
            row.append("" if field.empty_strings_allowed and not field.null else None)
        elif field.attname in values:
            value = decode(values[field.attname], field)
            if isinstance(field, ImageField):
                images[field.attname] = value
            else:
                names.append(field.attname)
                row.append(value)
    try:
        with _quietly():
            instance = model.from_db(data.get("db") or DEFAULT_DB_ALIAS, names, row)
    except MemoryError:
        raise
    except Exception as error:
        raise PayloadError(
            f"An instance of {model._meta.label} cannot be made again: its __init__ or from_db, or who hears of "
            f"post_init, raised {type(error).__name__}: {error}. Mend that, or purge the event."
        ) from error
    for name, value in images.items():
        # Only now: Django opens the file of an image whose size is unknown when the instance is made.
        setattr(instance, name, value)
    instance.__dict__.update(save=_refuse, save_base=_refuse, delete=_refuse)
    return instance


def is_known(label: str) -> bool:
    """Whether there is a model called ``label``, so that what is stored of it can be read back."""
    # As apps.get_model() finds it, without its errors: each event asks.
    app, _, name = label.partition(".")
    return app in apps.app_configs and name in apps.app_configs[app].models


def find_model(label: str) -> type[Model]:
    """The model called ``label`` (``app.model``), or a :class:`~dsn_core.exceptions.PayloadError`."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        raise PayloadError(
            f"The event speaks of the model {label!r}, which this project does not have (any more). "
            "Bring the app back, or purge the event."
        ) from None


def _refuse(*args: object, **kwargs: object) -> NoReturn:
    raise SnapshotError(
        "This instance was rebuilt from an event: it shows what the object was when the signal fired. "
        "Read the object again from the database before you save or delete it."
    )


# As on Django's own methods: a template that names one calls nothing.
_refuse.alters_data = True  # type: ignore[attr-defined]
