"""Users and their addresses: read for a batch, found by an address, and stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, FieldError, ObjectDoesNotExist, ValidationError
from django.db import connections, router
from django.db.models import Exists, F, Field, FilteredRelation, Manager, Model, OneToOneRel, OuterRef, Q, QuerySet
from django.db.models.base import ModelState
from django.db.models.functions import Coalesce

from dsn_core._django import is_made_by_storing
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Address
from dsn_core.models.delivery import ADDRESS_LENGTH
from dsn_core.models.sql import OneOf, storable
from dsn_core.plugins.profiles import STORED_ADDRESS
from dsn_core.plugins.registry import registry


def with_addresses(users: QuerySet[Any], messenger: BaseMessenger) -> QuerySet[Any]:
    """``users``, read together with their rows of ``Address`` where the messenger's addresses are these.

    The row of an account holds before that of its messenger, also where it is empty.
    """
    if messenger.path_to_address != STORED_ADDRESS:
        return users
    own = users.annotate(_dsn_own=_row_of(messenger.alias))
    if messenger.alias == messenger.name:
        found: QuerySet[Any] = own.annotate(**{STORED_ADDRESS: F("_dsn_own__address")})
    else:
        both = own.annotate(_dsn_shared=_row_of(messenger.name))
        found = both.annotate(**{STORED_ADDRESS: Coalesce("_dsn_own__address", "_dsn_shared__address")})
    return found


def _row_of(alias: str) -> FilteredRelation:
    return FilteredRelation("dsn_addresses", condition=Q(dsn_addresses__messenger=alias))


def of_users(users: Sequence[Any], messenger: BaseMessenger, using: str) -> Mapping[Any, str]:
    """The addresses of ``users`` by key, as the messenger says. What was not read with them is read here."""
    is_stored = messenger.path_to_address == STORED_ADDRESS
    if lacking := {user.pk: user for user in users if is_stored and not hasattr(user, STORED_ADDRESS)}:
        rows = with_addresses(get_user_model()._base_manager.using(using).filter(pk__in=lacking), messenger)
        found = dict(rows.values_list("pk", STORED_ADDRESS))
        for key, user in lacking.items():
            setattr(user, STORED_ADDRESS, found.get(key))
    return messenger.addresses(users)


def users_by_key(users: QuerySet[Any], keys: Iterable[Any], paths: Iterable[str]) -> dict[Any, Any]:
    """Those of ``users`` that ``keys`` are of, with what ``paths`` from a user lead through, by key.

    One query. Where the keys are no whole numbers, and the database limits the parameters, as few as it allows.
    """
    model = users.model
    users = users.order_by()
    if related := {name for path in paths if (name := relations_of(model, path))}:
        users = users.select_related(*related)
    is_plain = not related and type(model._base_manager) is Manager and is_made_by_storing(model)
    found = (_stored(some) if is_plain else some for some in _with_keys(users, list(keys)))
    return {user.pk: user for some in found for user in some}


def _with_keys(users: QuerySet[Any], keys: list[Any]) -> Iterator[QuerySet[Any]]:
    connection = connections[users.db]
    key: Any = users.model._meta.pk
    prepared = [key.get_db_prep_value(value, connection) for value in keys]
    if prepared and all(type(value) is int for value in prepared):
        # Django's own takes as long to make the parameters as the database takes for the answer.
        yield users.filter(OneOf("pk", prepared))
        return
    size = connection.features.max_query_params or len(keys) or 1
    for start in range(0, len(keys), size):
        yield users.filter(pk__in=keys[start : start + size])


def _stored(users: QuerySet[Any]) -> Iterator[Model]:
    """The same instances as ``users`` has, of a model that Django makes by storing values."""
    model: Any = users.model
    names = [*(field.attname for field in model._meta.concrete_fields), *users.query.annotation_select]
    for values in users.values_list(*names):
        user = model.__new__(model)
        state = user._state = ModelState()
        state.adding, state.db = False, users.db
        user.__dict__.update(zip(names, values, strict=True))
        yield user


def relations_of(model: type[Model], path: str) -> str:
    """The relations to one object each with which ``path`` from a ``model`` instance begins, for ``select_related``."""
    names: list[str] = []
    for name in path.split("."):
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            break
        if not (field.many_to_one or field.one_to_one) or not isinstance(field.related_model, type):
            break
        names.append(name)
        model = field.related_model
    return "__".join(names)


def users_with(messenger: str, address: str) -> QuerySet[Any]:
    """See :func:`dsn_core.find_users`."""
    path = _path(messenger)
    users = get_user_model()._default_manager.all()
    if not address.strip() or address != storable(address, ADDRESS_LENGTH):
        # No user has an address that no database can store; some databases refuse to search for it.
        return users.none()
    if path == STORED_ADDRESS:
        return users.filter(pk__in=_rows_with(messenger, address).values("user"))
    try:
        return users.filter(**{path.replace(".", "__"): address})
    except FieldError as error:
        raise ConfigurationError(f"Users cannot be searched by {path!r}: {error}") from error
    except ValueError:
        # A number's field, and an address that is none.
        return users.none()


def _rows_with(messenger: str, address: str) -> QuerySet[Address]:
    """The rows that are ``address`` and that the messenger or account reads."""
    name = registry.messenger_class(messenger).name
    rows = Address.objects.filter(messenger__in={messenger, name}, address=address)
    if messenger == name:
        return rows
    own = Address.objects.filter(messenger=messenger, user=OuterRef("user"))
    return rows.filter(Q(messenger=messenger) | ~Exists(own))


def store(user: Model, messenger: str, address: str, verified_at: datetime | None = None) -> None:
    """See :func:`dsn_core.store_address`."""
    path = _path(messenger)
    if not isinstance(user, get_user_model()):
        raise TypeError(
            f"An address is stored for a user ({get_user_model()._meta.label}), not for {type(user).__name__}."
        )
    if user.pk is None:
        raise ValueError("An address cannot be stored for a user who is not saved yet.")
    if not isinstance(address, str):
        raise TypeError(f"An address is a text, not {type(address).__name__}.")
    if path == STORED_ADDRESS:
        _store_row(user, messenger, address.strip(), verified_at)
    else:
        _store_at(path, user, address)


def _store_row(user: Model, messenger: str, address: str, verified_at: datetime | None) -> None:
    rows = Address.objects.using(router.db_for_write(Address, instance=user))
    if not address and messenger == registry.messenger_class(messenger).name:
        rows.filter(user=user.pk, messenger=messenger).delete()
        return
    # An account's empty row stays: without it, the address of its messenger would be read.
    _cleaned(Address._meta.get_field("address"), address, Address(), f"{messenger!r} of {Address._meta.label}")
    rows.store(user.pk, messenger, address, verified_at if address else None)


def _store_at(path: str, user: Model, address: str) -> None:
    *relations, name = path.split(".")
    holder = user
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
    value = _cleaned(field, address, holder, repr(path)) if address else empty
    setattr(holder, field.attname, value)
    if holder._state.adding:
        holder.save()
    else:
        holder.save(update_fields=[field.name])


def _cleaned(field: Any, address: str, holder: Model, place: str) -> Any:
    try:
        return field.clean(address, holder)
    except ValidationError as error:
        raise ConfigurationError(f"{place} cannot hold the address: {' '.join(error.messages)}") from error


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
