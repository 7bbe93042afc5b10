"""How a change of the configuration is noticed, in this process and in all others."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from typing import Any, TypeVar

from django.db import connections, models, router, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from dsn_core.signals import configuration_changed

ModelT = TypeVar("ModelT", bound=models.Model)


class ConfigurationVersion(models.Model):
    """One row with a number that every change of triggers and subscriptions raises.

    It is raised in the editing transaction, so that whoever reads a new number sees the change.
    Other processes compare it, which costs one small query, and read the triggers again when it moved.
    """

    ROW = 1

    number = models.BigIntegerField(_("number"))

    class Meta:
        verbose_name = _("configuration version")
        verbose_name_plural = _("configuration version")

    def __str__(self) -> str:
        return str(self.number)

    @classmethod
    def look(cls, using: str) -> int | None:
        """The number as it is now; None before the first change."""
        return cls.objects.using(using).filter(pk=cls.ROW).values_list("number", flat=True).first()

    @classmethod
    def bump(cls, using: str) -> bool:
        """Raise the number, in the transaction that is open on ``using``. False: there was none, and now there is."""
        rows = ConfigurationVersion.objects.using(using)
        if rows.filter(pk=cls.ROW).update(number=F("number") + 1):
            return True
        cls.begin(using)
        return False

    @classmethod
    def begin(cls, using: str) -> None:
        """Make the row, or give it a number that it never had: the clock."""
        # An upsert, since two that fail to insert and go on to update block each other on MariaDB.
        targeted = connections[using].features.supports_update_conflicts_with_target
        ConfigurationVersion.objects.using(using).bulk_create(
            [ConfigurationVersion(pk=cls.ROW, number=time.time_ns() // 1_000)],
            update_conflicts=True,
            update_fields=["number"],
            unique_fields=["pk"] if targeted else None,
        )


def announce(model: type[models.Model], using: str, trigger_ids: Collection[int] | None) -> None:
    """Tell everybody that triggers (None: any of them) changed. Belongs in the editing transaction."""
    if not ConfigurationVersion.bump(using):
        # The first edit, or the tables were emptied meanwhile, as tests do: then nothing is as it was.
        trigger_ids = None
    configuration_changed.send(sender=model, using=using, trigger_ids=trigger_ids)


@receiver(post_save, sender=ConfigurationVersion, dispatch_uid="dsn_version_loaded")
def _version_loaded(raw: bool, using: str, **kwargs: object) -> None:
    """A fixture brought a number of some time ago, which others may have read with other triggers: not that one."""
    if raw:
        ConfigurationVersion.begin(using)
        configuration_changed.send(sender=ConfigurationVersion, using=using, trigger_ids=None)


class ConfigurationQuerySet(models.QuerySet[ModelT]):
    """A queryset whose bulk changes are noticed: Django sends no signal for them."""

    def update(self, **kwargs: Any) -> int:
        using = self._writes_to()
        with transaction.atomic(using=using):
            rows = super().update(**kwargs)
            announce(self.model, using, None)
        return rows

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[ModelT], *args: Any, **kwargs: Any) -> list[ModelT]:
        using = self._writes_to()
        with transaction.atomic(using=using):
            created = super().bulk_create(objs, *args, **kwargs)
            announce(self.model, using, None)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def _writes_to(self) -> str:
        # As Django does itself, but before the transaction: reading may be another database's task.
        self._for_write = True
        return self.db


class ConfigurationModel(models.Model):
    """A row that takes part in deciding which signals matter."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        # One transaction, so that the row and the version move together.
        with transaction.atomic(using=using):
            super().save(*args, **kwargs)

    save.alters_data = True  # type: ignore[attr-defined]
