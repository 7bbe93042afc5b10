"""Attributes that no path may read: sensitive names, and details of the server in files and connections."""

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

from dsn_core.contracts.paths import walk
from dsn_core.exceptions import ConfigurationError
from dsn_core.payload import sensitive

#: The attributes of files that a path may read: not the path on the server, nor the storage with its keys.
_OF_FILES: Final = frozenset({"name", "url", "size", "width", "height"})
#: Objects with details of the server, with the attributes that a path may read.
_KNOWING: Final[tuple[tuple[type[Any], frozenset[str]], ...]] = (
    (File, _OF_FILES),
    (Storage, frozenset()),
    (BaseDatabaseWrapper, frozenset({"alias", "vendor"})),
    (ConnectionProxy, frozenset({"alias", "vendor"})),
    (LazySettings, frozenset()),
)


def refuse_sensitive(path: str, model: type[Any] | None = None, *, at: int = 0) -> None:
    """Raise :class:`~dsn_core.exceptions.ConfigurationError` where a step of ``path`` is sensitive.

    ``model`` is the class of the object from which step number ``at`` is read, if it is known. For paths that are
    saved; when they are followed, each step is checked again.
    """
    everywhere = sensitive.names()
    for number, step in enumerate(steps := path.split(".")):
        if sensitive.is_sensitive(step, everywhere):
            # Such as the token of a telephone to which messages are sent.
            only_sounds = step.lower() not in everywhere.hidden
            hint = " If it is no secret, name it in DSN['PLAIN_FIELDS']." if only_sounds else ""
            raise _refused(path, step, hint)
        if number < at or not (isinstance(model, type) and issubclass(model, Model)):
            continue
        if step in _hidden(model, everywhere):
            raise _refused(path, step)
        field = field_of(model, step)
        following = steps[number + 1 : number + 2]
        if isinstance(field, FileField) and following and following[0] not in _OF_FILES:
            raise _refused(path, following[0])
        model = getattr(field, "related_model", None)


def follow(start: Any, path: str, *, missing_key_is_none: bool = False) -> Any:
    """:func:`dsn_core.contracts.paths.follow` that refuses sensitive steps."""
    return walk(start, path.split("."), path, missing_key_is_none=missing_key_is_none, may_read=may_read)


def may_read(owner: object, step: str) -> bool:
    """Whether a path may read ``step`` of ``owner``."""
    everywhere = sensitive.names()
    if sensitive.is_sensitive(step, everywhere):
        return False
    if isinstance(owner, Model):
        # For a lazy object, such as request.user, the class of the wrapped object.
        return step not in _hidden(owner.__class__, everywhere)
    return all(step in known for kind, known in _KNOWING if isinstance(owner, kind))


@functools.lru_cache(maxsize=1_024)
def _hidden(model: type[Model], everywhere: sensitive.Names) -> frozenset[str]:
    """The names of ``model`` that hold sensitive values, those of properties included."""
    attnames = sensitive.attnames(model, everywhere)
    fields = {field.name for field in model._meta.concrete_fields if field.attname in attnames}
    return attnames | fields | sensitive.own(model)


def field_of(model: type[Model], step: str) -> Any:
    """The field or relation that ``step`` reads of an instance of ``model``; None where it is neither."""
    try:
        return model._meta.get_field(step)
    except FieldDoesNotExist:
        related = {item.get_accessor_name(): item for item in model._meta.related_objects}
        return related.get(step)


def _refused(path: str, step: str, hint: str = "") -> ConfigurationError:
    return ConfigurationError(f"The path {path!r} is refused: {step!r} is sensitive, and no path reads it.{hint}")
