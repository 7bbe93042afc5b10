"""Path types: the types of values that the paths of conditions lead to, as far as models and signals show them."""

from __future__ import annotations

import datetime
import decimal
import inspect
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from dsn_core.conditions.operators import Kind
from dsn_core.conditions.values import aware, of_kind
from dsn_core.contracts.registrations import PARTS_OF_ACTIVITY, SignalRegistration
from dsn_core.exceptions import nearest
from dsn_core.payload.private import refuse_sensitive

_FIELDS: Final[tuple[tuple[type[Any], Kind], ...]] = (
    (models.BooleanField, "boolean"),
    (models.IntegerField, "number"),
    (models.FloatField, "number"),
    (models.DecimalField, "number"),
    (models.DateField, "moment"),
    (models.TimeField, "moment"),
    (models.DurationField, "moment"),
    (models.UUIDField, "key"),
    (models.GenericIPAddressField, "text"),
    (models.CharField, "text"),
    (models.TextField, "text"),
    (models.FileField, "text"),
    (models.BinaryField, "opaque"),
)
_TYPES: Final[tuple[tuple[type[Any], Kind], ...]] = (
    (bool, "boolean"),
    (int, "number"),
    (float, "number"),
    (decimal.Decimal, "number"),
    (str, "text"),
    (datetime.date, "moment"),
    (datetime.time, "moment"),
    (datetime.timedelta, "moment"),
    (uuid.UUID, "key"),
    (bytes, "opaque"),
    (Mapping, "collection"),
    (list, "collection"),
    (tuple, "collection"),
    (set, "collection"),
    (frozenset, "collection"),
)
_PLAIN: Final = frozenset({str, bool, int, float})


@dataclass(frozen=True)
class PathType:
    """The type of the value that a path leads to.

    ``steps``   the names to follow, the first of them an argument or a part; a relation at the end is
                replaced by its column, which needs no query
    ``kind``    the kind of value
    ``field``   the model field that holds it, if any
    """

    steps: tuple[str, ...]
    kind: Kind = "any"
    field: models.Field[Any, Any] | None = None

    def typed(self, value: Any) -> Any:
        """``value`` in the field's type, e.g. a ``Decimal`` for ``"9.90"``. Raises ValueError or ValidationError."""
        if value is None:
            return None
        found = of_kind(value, self.kind) if self.field is None else self.field.to_python(value)
        if isinstance(found, datetime.datetime):
            return aware(found)
        # Of a file only its name can be compared.
        return str(found) if isinstance(self.field, models.FileField) else found


@dataclass(frozen=True)
class Roots:
    """Where the paths of a trigger's conditions can begin."""

    registration: SignalRegistration
    action_model: type[models.Model] | None
    actor_model: type[models.Model] | None

    @cached_property
    def types(self) -> dict[str, type | None]:
        """The arguments and parts by name, each with its type (None: not known)."""
        registration = self.registration
        found: dict[str, type | None] = dict.fromkeys((*(registration.provides or ()), *PARTS_OF_ACTIVITY, "sender"))
        found.update(registration.types)
        found["verb"] = found["target"] = str
        # Of a many-to-many relation either side may be the instance.
        action_model = None if registration.senders == "through" else self.action_model
        for name in ("action_object", registration.action_object or "instance"):
            if action_model is not None and (name in found or registration.provides is None):
                found[name] = action_model
        for name in ("actor_object", registration.actor_argument):
            if self.actor_model is not None and (name in found or registration.provides is None):
                found[name] = self.actor_model
        return {name: None if cls is models.Model else cls for name, cls in found.items()}


def path_type(path: str, roots: Roots) -> PathType:
    """The type that ``path`` leads to. Raises ``ValidationError`` when it cannot be followed.

    Raises :class:`~dsn_core.exceptions.ConfigurationError` when a step is sensitive.
    """
    steps = tuple(path.split("."))
    if any(not step.isidentifier() and not step.isdigit() for step in steps):
        raise ValidationError(_("%(path)r is not a path: write names with dots between them.") % {"path": path})
    if private := next((step for step in steps if step.startswith("_")), None):
        raise ValidationError(_("%(step)r begins with an underscore: it is private.") % {"step": private})
    if steps[0] not in roots.types and roots.registration.provides is not None:
        known = ", ".join(roots.types)
        reason = _("%(verb)s provides no %(root)r%(near)s; paths begin with one of %(known)s.")
        near = nearest(steps[0], roots.types)
        raise ValidationError(
            reason % {"verb": roots.registration.name, "root": steps[0], "near": near, "known": known}
        )
    cls = roots.types.get(steps[0])
    refuse_sensitive(path, cls, at=1)
    if len(steps) > 1 and cls in _PLAIN:
        reason = _("%(root)s is a plain value: no path goes on from there.")
        raise ValidationError(reason % {"root": steps[0]})
    if cls is None or (len(steps) > 1 and not issubclass(cls, models.Model)):
        return PathType(steps)
    if issubclass(cls, models.Model):
        return _of_model(steps, 1, cls)
    return PathType(steps, kind=_kind(_TYPES, lambda known: issubclass(cls, known)))


def _kind(kinds: tuple[tuple[type[Any], Kind], ...], fits: Callable[[type[Any]], bool]) -> Kind:
    return next((kind for known, kind in kinds if fits(known)), "any")


def _of_model(steps: tuple[str, ...], at: int, model: type[models.Model]) -> PathType:
    """The type that ``steps`` lead to, where the value before step ``at`` is an instance of ``model``."""
    if at == len(steps):
        # The instance itself: compared by its key.
        return _of_model((*steps, "pk"), at, model)
    step, is_last = steps[at], at + 1 == len(steps)
    try:
        field: Any = model._meta.pk if step == "pk" else model._meta.get_field(step)
    except FieldDoesNotExist:
        return _of_attribute(steps, at, model)
    if getattr(field, "many_to_many", False) or getattr(field, "one_to_many", False):
        reason = _("%(model)s.%(step)s leads to many objects, and a condition is about one.")
        raise ValidationError(reason % {"model": model._meta.label, "step": step})
    if isinstance(field, models.CompositePrimaryKey) or not field.is_relation:
        if is_last:
            return _of_field(steps, field)
        if isinstance(field, models.CharField | models.TextField | models.BooleanField | models.IntegerField):
            reason = _("%(model)s.%(step)s is a plain value: no path goes on from there.")
            raise ValidationError(reason % {"model": model._meta.label, "step": step})
        return PathType(steps)
    if field.concrete and (is_last or step == field.attname):
        if not is_last:
            reason = _("%(step)s is only the key; a path goes on from %(name)s.")
            raise ValidationError(reason % {"step": step, "name": field.name})
        return _of_field(steps, field)
    if is_last or not isinstance(field.related_model, type):
        return PathType(steps)
    return _of_model(steps, at + 1, field.related_model)


def _of_field(steps: tuple[str, ...], field: Any) -> PathType:
    if isinstance(field, models.CompositePrimaryKey):
        reason = _("The key of %(model)s has several columns: write one of them, %(columns)s.")
        columns = ", ".join(field.field_names)
        raise ValidationError(reason % {"model": field.model._meta.label, "columns": columns})
    target = field
    while target.is_relation and isinstance(target, models.ForeignKey):
        target = target.target_field
    kind = _kind(_FIELDS, lambda known: isinstance(target, known))
    return PathType((*steps[:-1], field.attname), kind=kind, field=field)


def _of_attribute(steps: tuple[str, ...], at: int, model: type[models.Model]) -> PathType:
    """The type for a step that is no field: for a property it is not known beforehand."""
    step = steps[at]
    found = inspect.getattr_static(model, step, None)
    if found is None:
        names = [field.name for field in model._meta.get_fields()]
        reason = _("%(model)s has no field or attribute %(step)r%(near)s.")
        raise ValidationError(reason % {"model": model._meta.label, "step": step, "near": nearest(step, names)})
    if callable(found) or isinstance(found, classmethod | staticmethod):
        reason = _("%(model)s.%(step)s is a method; a condition calls nothing.")
        raise ValidationError(reason % {"model": model._meta.label, "step": step})
    return PathType(steps)
