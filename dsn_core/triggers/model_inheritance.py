"""Model inheritance: the classes that count as a trigger's model, and the senders of their signals."""

from __future__ import annotations

import functools
from typing import Any

from django.apps import apps
from django.db.models import ManyToManyField, ManyToManyRel, Model
from django.db.models.signals import class_prepared

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.models.trigger import OWN_APP
from dsn_core.references import is_concrete


@functools.cache
def counts_as(model: type[Model], inherits: bool) -> tuple[type[Model], ...]:
    """``model`` and the models that it is a proxy of; with ``inherits`` its multi-table parents as well."""
    found = []
    for ancestor in model.__mro__:
        if not is_concrete(ancestor):
            continue
        found.append(ancestor)
        if not inherits and not ancestor._meta.proxy:
            break
    return tuple(found)


@functools.cache
def shares_key(cls: type[Model], model: type[Model]) -> bool:
    """Whether an instance of ``cls`` has the same key as a ``model``; not if a multi-table child has its own key."""
    field: Any = cls._meta.pk
    while field is not model._meta.pk:
        if field.remote_field is None or not field.remote_field.parent_link:
            return False
        field = field.remote_field.model._meta.pk
    return True


def senders(registration: SignalRegistration, model: type[Model]) -> frozenset[type[Model]]:
    """The senders whose signals can match a trigger on ``model``, without our own models."""
    found = _family(model, registration.inherits)
    if registration.senders == "through":
        # Including those of children, whose changes count for their parents.
        found = frozenset(through for member in found for through in _through_models(member))
    return frozenset(sender for sender in found if sender._meta.app_label != OWN_APP)


@functools.cache
def _family(model: type[Model], inherits: bool) -> frozenset[type[Model]]:
    return frozenset(
        other for other in apps.get_models(include_auto_created=True) if model in counts_as(other, inherits)
    )


@functools.cache
def _through_models(model: type[Model]) -> frozenset[type[Model]]:
    """The through models of the model's own many-to-many relations and of the incoming ones."""
    found = set()
    for relation in model._meta.get_fields(include_hidden=True):
        if isinstance(relation, ManyToManyField):
            found.add(relation.remote_field.through)
        elif isinstance(relation, ManyToManyRel):
            found.add(relation.through)
    return frozenset(through for through in found if through is not None)


def _forget(**kwargs: object) -> None:
    _family.cache_clear()
    _through_models.cache_clear()


# For models that are created late, as in tests.
class_prepared.connect(_forget, dispatch_uid="dsn_core.model_inheritance")
