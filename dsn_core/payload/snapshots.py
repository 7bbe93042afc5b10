"""Model instances as they were when a signal fired."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NoReturn

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Field, ImageField, Model
from django.db.models.base import model_unpickle

from dsn_core import savepoints
from dsn_core.exceptions import PayloadError, SnapshotError
from dsn_core.payload import sensitive
from dsn_core.payload.placeholders import Placeholder, hidden_value

#: Where an instance holds the text that it had when it was deleted.
_KEPT: Final = "_dsn_text"
#: Characters of a text that is kept.
MAX_TEXT: Final = 1_000

_rebuilding: ContextVar[bool] = ContextVar("dsn_rebuilding", default=False)

#: Whether an instance is being rebuilt: then its ``post_init`` matches no trigger.
rebuilding: Callable[[], bool] = _rebuilding.get


def take(
    instance: Model, secrets: sensitive.Names, encode: Callable[[Any, Field[Any, Any]], Any], *, with_text: bool = False
) -> dict[str, Any]:
    """JSON data for ``instance``: its loaded concrete fields, without a query.

    ``with_text`` also stores its text, for which its model may run queries. Deferred fields and unresolved database
    expressions stay deferred; of sensitive fields only None, true and false are stored.
    """
    held, values = instance.__dict__, {}
    blank = sensitive.attnames(instance.__class__, secrets)
    for field in instance._meta.concrete_fields:
        name = field.attname
        if name not in held or hasattr(value := held[name], "resolve_expression"):
            continue
        if name not in blank:
            values[name] = encode(value, field)
        elif sensitive.is_no_secret(value):
            values[name] = value
    data: dict[str, Any] = {"model": instance._meta.label_lower, "db": instance._state.db, "v": values}
    if blank:
        data["blank"] = sorted(blank)
    if with_text and (text := _text_of(_without_secrets(instance, blank))) is not None:
        data["text"] = text
    return data


def _without_secrets(instance: Model, blank: frozenset[str]) -> Model:
    """``instance``, or a copy without its sensitive values, so that its text cannot show them."""
    if not blank:
        return instance
    other = copy.copy(instance)
    vars(other).update(
        {name: hidden_value(name) for name in blank if not sensitive.is_no_secret(vars(other).get(name))}
    )
    return other


def restore(data: dict[str, Any], decode: Callable[[Any, Field[Any, Any]], Any]) -> Model:
    """The instance that :func:`take` stored, made without a query. It refuses ``save()`` and ``delete()``.

    Columns that the model no longer has are dropped; new ones are read from the database when they are used, unless
    they are sensitive.
    """
    model = find_model(data["model"])
    values = data["v"]
    blank = sensitive.attnames(model, sensitive.names()).union(data.get("blank", ()))
    names, row = [], []
    #: Set when the instance is made.
    later: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        name = field.attname
        if name not in blank and name not in values:
            continue
        is_hidden = name in blank and not (name in values and sensitive.is_no_secret(values[name]))
        value = hidden_value(f"{model._meta.label}.{name}") if is_hidden else decode(values[name], field)
        if isinstance(value, Placeholder):
            # An __init__ may not accept placeholders. Not deferred: a deferred password would be read
            # from the database.
            later[name] = value
            value = "" if field.empty_strings_allowed and not field.null else None
        elif isinstance(field, ImageField):
            # For an image of unknown size, Django's __init__ opens the file.
            later[name] = value
            continue
        names.append(name)
        row.append(value)
    token = _rebuilding.set(True)
    try:
        instance = model.from_db(data.get("db") or DEFAULT_DB_ALIAS, names, row)
    except MemoryError:
        raise
    except Exception as error:
        raise PayloadError(
            f"An instance of {model._meta.label} cannot be rebuilt: its __init__ or from_db, or a receiver of "
            f"post_init, raised {type(error).__name__}: {error}. Correct that, or purge the event."
        ) from error
    finally:
        _rebuilding.reset(token)
    _become_rebuilt(instance, data.get("text"))
    instance.__dict__.update(later, save=_refuse, save_base=_refuse, delete=_refuse)
    return instance


def is_known(label: str) -> bool:
    """Whether there is a model called ``label``, so that its instances can be read back."""
    # Like apps.get_model(), but without the cost of errors, since each event needs it.
    app, _, name = label.partition(".")
    return app in apps.app_configs and name in apps.app_configs[app].models


def find_model(label: str) -> type[Model]:
    """The model called ``label`` (``app.model``), or a :class:`~dsn_core.exceptions.PayloadError`."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        raise PayloadError(
            f"The event refers to the model {label!r}, which this project does not have (any more). "
            "Install its app again, or purge the event."
        ) from None


def _refuse(*args: object, **kwargs: object) -> NoReturn:
    raise SnapshotError(
        "This instance was rebuilt from an event: it shows the object as it was when the signal fired. "
        "Read the object again from the database before you save or delete it."
    )


# As on Django's methods, so that templates do not call it.
_refuse.alters_data = True  # type: ignore[attr-defined]


# The class of rebuilt instances: the model's own, with another __str__.


class _Rebuilt:
    """Base before the model, so that the model's ``__init_subclass__`` is not called for classes made here.

    Without ``__slots__``: only classes with the same object layout can be exchanged.
    """

    def __init_subclass__(cls) -> None:
        pass

    def __str__(self) -> str:
        kept: str | None = vars(self).get(_KEPT)
        if kept is not None:
            return kept
        try:
            text: Any = super().__str__()
        except ObjectDoesNotExist:
            # It uses another row, which does not exist any more.
            model: Any = self
            name, key = str(model._meta.verbose_name), model.pk
            return name if key is None or isinstance(key, Placeholder) else f"{name} {key}"
        # A placeholder's own error says more than Python's about a wrong type.
        return text.__str__() if isinstance(text, Placeholder) else text

    def __reduce__(self) -> Any:
        made: Any = super().__reduce__()
        return _again, *made[1:]


def _become_rebuilt(instance: Model, text: str | None) -> None:
    """Give ``instance`` the class of rebuilt instances, and the stored text, if there is one."""
    with contextlib.suppress(TypeError):
        # A model with its own __slots__ keeps its class: Python cannot exchange it.
        instance.__class__ = _class_for(instance.__class__)
    if text is not None:
        vars(instance)[_KEPT] = text


@functools.lru_cache(maxsize=1_024)
def _class_for(model: type[Model]) -> type[Model]:
    own: dict[str, Any] = {"__module__": model.__module__, "__qualname__": model.__qualname__, "__doc__": model.__doc__}
    # instance.__class__ is the model.
    own["__class__"] = property(lambda instance: model)
    # Without the metaclass, which would register another model.
    return type.__new__(type(model), model.__name__, (_Rebuilt, model), own)


def _again(class_id: Any) -> Model:
    instance = model_unpickle(class_id)
    instance.__class__ = _class_for(type(instance))
    return instance


def _text_of(instance: Model) -> str | None:
    """The text of an instance that is being deleted, while related rows still exist; None where there is none.

    Raises only errors that cost a transaction.
    """
    kept: str | None = vars(instance).get(_KEPT)
    if kept is not None:
        return kept
    try:
        with savepoints.matching_query():
            text = type(instance).__str__(instance)
    except BaseException as error:
        if savepoints.is_callers(error):
            raise
        return None
    return text if isinstance(text, str) and len(text) <= MAX_TEXT else None
