"""Loads the users of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Manager, Model, QuerySet
from django.db.models.base import ModelState

from dsn_core._django import is_made_by_storing
from dsn_core.models.sql import OneOf


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
