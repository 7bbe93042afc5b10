"""Which classes of models a trigger's model stands for, and which senders those have."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.db.models import ManyToManyField, ManyToManyRel, Model

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.models.references import key_text, pk_text

#: The app whose own rows never trigger anything: a delivery that fires a delivery would not end.
OWN_APP = "dsn_core"


@functools.cache
def counts_as(model: type[Model], inherits: bool) -> tuple[type[Model], ...]:
    """The models that an instance of ``model`` is one of: itself, and what it is a proxy of.

    With ``inherits`` its multi-table parents as well.
    """
    found = []
    for ancestor in model.__mro__:
        if not _is_concrete(ancestor):
            continue
        found.append(ancestor)
        if not inherits and not ancestor._meta.proxy:
            break
    return tuple(found)


def _is_concrete(cls: type) -> bool:
    return issubclass(cls, Model) and cls is not Model and hasattr(cls, "_meta") and not cls._meta.abstract


def senders(registration: SignalRegistration, model: type[Model]) -> set[type[Model]]:
    """The senders whose signals can concern a trigger on ``model``."""
    if registration.senders == "through":
        return set(_through_models(model))
    return {
        other
        for other in apps.get_models(include_auto_created=True)
        if model in counts_as(other, registration.inherits) and other._meta.app_label != OWN_APP
    }


def _through_models(model: type[Model]) -> Iterator[type[Model]]:
    """Those of the model's own many-to-many relations and of the incoming ones."""
    for relation in model._meta.get_fields(include_hidden=True):
        if isinstance(relation, ManyToManyField):
            yield relation.remote_field.through
        elif isinstance(relation, ManyToManyRel):
            yield relation.through


def concerned(
    registration: SignalRegistration, action_object: Any, kwargs: Mapping[str, Any]
) -> Iterable[tuple[type[Model], str]]:
    """The models, each with a key's text (or none), that a sent signal is about."""
    if isinstance(action_object, type):
        if _is_concrete(action_object):
            yield action_object, ""
    elif isinstance(action_object, Model):
        yield action_object.__class__, pk_text(action_object)
    if registration.senders == "through" and isinstance(other := kwargs.get("model"), type):
        # The change of a relation is about both sides; here, the one that instance is not.
        keys = kwargs.get("pk_set") or ()
        yield other, ""
        for key in keys:
            yield other, key_text(key)
