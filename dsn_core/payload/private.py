"""What no path of an operator reads: sensitive names, and what files and connections know of the server."""

from __future__ import annotations

import functools
from typing import Any, Final

from django.conf import LazySettings
from django.core.exceptions import FieldDoesNotExist
from django.core.files.base import File
from django.core.files.storage import Storage
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import FileField, Model
from django.utils.connection import ConnectionProxy

from dsn_core import conf
from dsn_core.contracts.paths import walk
from dsn_core.exceptions import ConfigurationError
from dsn_core.payload import sensitive

#: Where a path goes on from a file: its path on the server, and the storage with its keys, are none of these.
_OF_FILES: Final = frozenset({"name", "url", "size", "width", "height"})
#: Objects that know the server, with what a path may read of each.
_KNOWING: Final[tuple[tuple[type[Any], frozenset[str]], ...]] = (
    (File, _OF_FILES),
    (Storage, frozenset()),
    (BaseDatabaseWrapper, frozenset({"alias", "vendor"})),
    (ConnectionProxy, frozenset({"alias", "vendor"})),
    (LazySettings, frozenset()),
)


def refuse_sensitive(path: str, model: type[Any] | None = None, *, at: int = 0) -> None:
    """Raise :class:`~dsn_core.exceptions.ConfigurationError` where ``path`` leads through what is sensitive.

    ``model`` is the class of the object that the step number ``at`` is taken from, as far as it is
    known. For paths that are saved; those that are followed are asked again, step by step.
    """
    everywhere = sensitive.names(conf.current())
    for number, step in enumerate(steps := path.split(".")):
        if sensitive.is_sensitive(step, everywhere):
            raise _refused(path, step, hint=_PLAIN if step.lower() not in everywhere.hidden else "")
        if number < at or not (isinstance(model, type) and issubclass(model, Model)):
            continue
        if step in _hidden(model, everywhere):
            raise _refused(path, step)
        field = _field(model, step)
        following = steps[number + 1 : number + 2]
        if isinstance(field, FileField) and following and following[0] not in _OF_FILES:
            raise _refused(path, following[0])
        model = getattr(field, "related_model", None)


def follow(start: Any, path: str, *, missing_key_is_none: bool = False) -> Any:
    """:func:`dsn_core.contracts.paths.follow`, which refuses what is sensitive."""
    return walk(start, path.split("."), path, missing_key_is_none=missing_key_is_none, may_read=may_read)


def may_read(owner: object, step: str) -> bool:
    """Whether a path may take ``step`` from ``owner``."""
    everywhere = sensitive.names(conf.current())
    if sensitive.is_sensitive(step, everywhere):
        return False
    if isinstance(owner, Model):
        # Of a lazy object, such as request.user, the class of what is in it.
        return step not in _hidden(owner.__class__, everywhere)
    return all(step in known for kind, known in _KNOWING if isinstance(owner, kind))


@functools.lru_cache(maxsize=1_024)
def _hidden(model: type[Model], everywhere: sensitive.Names) -> frozenset[str]:
    """The names of ``model`` that hold sensitive values, those of properties included."""
    attnames = sensitive.attnames(model, everywhere)
    fields = {field.name for field in model._meta.concrete_fields if field.attname in attnames}
    return attnames | fields | sensitive.own(model)


def _field(model: type[Model], step: str) -> Any:
    try:
        return model._meta.get_field(step)
    except FieldDoesNotExist:
        related = {item.get_accessor_name(): item for item in model._meta.related_objects}
        return related.get(step)


#: What to do about a step whose name only sounds like a secret: the token of a telephone, to which messages are sent.
_PLAIN: Final = " If it is no secret, name it in DSN['PLAIN_FIELDS']."


def _refused(path: str, step: str, *, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f"The path {path!r} is refused: {step!r} is sensitive, and no path reads it.{hint}")
