"""The queryset of triggers: creation when missing, and digests that stay correct in bulk changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from dsn_core import references
from dsn_core.models.configuration import ConfigurationQuerySet, one_announcement

if TYPE_CHECKING:
    from dsn_core.models.trigger import Trigger


#: The fields that identify a trigger; no two triggers have all of them equal.
IDENTITY: Final = (
    "verb",
    "action_object_model",
    "action_object_pk",
    "actor_object_model",
    "actor_object_pk",
    "target",
    "conditions",
)


class TriggerQuerySet(ConfigurationQuerySet["Trigger"]):
    names_trigger = "pk"

    def define(
        self,
        verb: str,
        *,
        action_object: Any = None,
        actor_object: Any = None,
        target: str = "",
        conditions: Iterable[Any] = (),
        enabled: bool = True,
    ) -> Trigger:
        """The trigger with exactly these parts, created when it is missing.

        ``action_object`` and ``actor_object`` are a model, one instance, or None for any.
        ``conditions`` are rows of path, operator and value, all of which must hold::

            [("created", "is true"), ("instance.price", "greater", 100)]

        ``enabled`` counts only when the trigger is created. Raises ``ValidationError`` for what cannot work: an
        unknown verb, a model signal without a model, a path that cannot be followed.
        """
        if isinstance(conditions, str | Mapping) or not isinstance(conditions, Iterable):
            raise ValidationError({"conditions": _("The conditions are a list of rows: path, operator, value.")})
        trigger = self.model(verb=verb, target=target or "", conditions=list(conditions), enabled=enabled)
        trigger.action_object_model, trigger.action_object_pk = references.split(action_object)
        trigger.actor_object_model, trigger.actor_object_pk = references.split(actor_object)
        trigger.clean_fields(exclude=["digest", "conditions"])
        trigger.clean_parts()
        digest = trigger.make_digest()
        found, _created = self.get_or_create(
            digest=digest,
            defaults={
                field.attname: getattr(trigger, field.attname)
                for field in self.model._meta.concrete_fields
                if not field.primary_key and field.attname != "digest"
            },
        )
        return found

    # Bulk changes do not call save(), so they must set the digest themselves.

    def update(self, **kwargs: Any) -> int:
        if not set(kwargs).intersection(IDENTITY):
            return super().update(**kwargs)
        with one_announcement(self.model, self._writes_to()):
            keys = list(self.values_list("pk", flat=True))
            rows = super().update(**kwargs)
            edited = list(self.model._base_manager.using(self.db).filter(pk__in=keys))
            self.model._default_manager.using(self.db).bulk_update(edited, ["digest"])
        return rows

    def bulk_create(self, objs: Iterable[Trigger], *args: Any, **kwargs: Any) -> list[Trigger]:
        return super().bulk_create(_digested(objs), *args, **kwargs)

    def bulk_update(self, objs: Iterable[Trigger], fields: Iterable[str], *args: Any, **kwargs: Any) -> int:
        return super().bulk_update(_digested(objs), {*fields, "digest"}, *args, **kwargs)


def _digested(triggers: Iterable[Trigger]) -> list[Trigger]:
    triggers = list(triggers)
    for trigger in triggers:
        trigger.digest = trigger.make_digest()
    return triggers
