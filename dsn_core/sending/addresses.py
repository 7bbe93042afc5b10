"""Users' addresses, read backwards: who has one, and where a new one is stored."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist, ValidationError
from django.db.models import Field, Model, OneToOneRel, QuerySet

from dsn_core.exceptions import ConfigurationError
from dsn_core.plugins.registry import registry


def users_with(messenger: str, address: str) -> QuerySet[Any]:
    """See :func:`dsn_core.find_users`."""
    path = _path(messenger)
    users = get_user_model()._default_manager.all()
    return users.filter(**{path.replace(".", "__"): address}) if address else users.none()


def store(user: Model, messenger: str, address: str) -> None:
    """See :func:`dsn_core.store_address`."""
    path = _path(messenger)
    *relations, name = path.split(".")
    holder: Model = user
    for step in relations:
        try:
            following = getattr(holder, step)
        except ObjectDoesNotExist:
            if not address:
                return
            following = _made(holder, step)
        if not isinstance(following, Model):
            raise _unwritable(path, f"{step!r} of {holder._meta.label} leads to no row")
        holder = following
    try:
        field = holder._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if not isinstance(field, Field):
        raise _unwritable(path, f"{holder._meta.label} has no field {name!r}")
    # What "no address" is, the field knows.
    empty = None if field.null else ""
    try:
        value = field.clean(address, holder) if address else empty
    except ValidationError as error:
        raise ConfigurationError(f"{path!r} cannot hold the address: {' '.join(error.messages)}") from error
    setattr(holder, field.attname, value)
    if holder._state.adding:
        holder.save()
    else:
        holder.save(update_fields=[field.name])


def _path(messenger: str) -> str:
    if path := registry.address_path(messenger):
        return path
    raise ConfigurationError(
        f"Nothing says where users' addresses for {messenger!r} are stored: set DSN['ADDRESSES'][{messenger!r}]."
    )


def _made(holder: Model, accessor: str) -> Model:
    """The missing row of a one-to-one relation that leads back to ``holder``."""
    for relation in holder._meta.related_objects:
        if isinstance(relation, OneToOneRel) and relation.get_accessor_name() == accessor:
            model: Any = relation.related_model
            made: Model = model(**{relation.field.name: holder})
            return made
    raise _unwritable(accessor, f"{holder._meta.label} has no {accessor!r}, and none can be made")


def _unwritable(path: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"An address cannot be stored at {path!r}: {why}.")
