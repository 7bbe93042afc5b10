"""The log of configuration changes, by which a process sees which triggers it has to read again.

Each edit inserts a row, in the editing transaction. No row is updated, so that editors never wait for one another.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.db import connections, models, transaction
from django.db.models import Count, F, Sum
from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from dsn_core.models.clock import DatabaseNow
from dsn_core.signals import configuration_changed

#: The name from the previous version, whose processes use the table while a new version is rolled out.
TABLE: Final = "dsn_core_configurationversion"


class State(NamedTuple):
    """The table of changes in two numbers, which differ after every change."""

    rows: int
    total: int


class Change(NamedTuple):
    """One row: the triggers that an edit changed (None: any), and the tokens of the rows that it replaced."""

    trigger_ids: frozenset[int] | None
    pruned: frozenset[int] | None = None


@dataclass(frozen=True)
class ChangeLog:
    """All rows that a process has seen, by their tokens."""

    changes: Mapping[int, Change]

    @property
    def state(self) -> State:
        return State(len(self.changes), sum(self.changes))

    def since(self, earlier: ChangeLog) -> frozenset[int] | None:
        """The ids of the triggers that were edited since ``earlier`` was read; None: any trigger may have been.

        Also None when rows vanished that no pruning named: the tables were emptied or restored.
        """
        known, vanished = earlier.changes.keys(), earlier.changes.keys() - self.changes.keys()
        found: frozenset[int] = frozenset()
        for token in self.changes.keys() - known:
            change = self.changes[token]
            if change.pruned is not None and change.pruned <= known:
                vanished -= change.pruned
            elif change.trigger_ids is not None:
                found |= change.trigger_ids
            else:
                return None
        return None if vanished else found


class ConfigurationChange(models.Model):
    """One edit of triggers or subscriptions, with the triggers that it concerns.

    Processes compare the number of rows and the sum of their tokens (:meth:`state`), which costs one small query.
    A transaction that inserts early and commits late changes these, too; a maximum would miss it. When they differ,
    a process reads the rows (:meth:`read`) and compares them with those it knows (:meth:`ChangeLog.since`).
    """

    #: The only row that versions before this model know (docs/decisions/0018): each edit adds one to its token.
    FIRST: Final = 1
    #: With more rows than MAX, all but the KEEP youngest are pruned, at most BATCH after one edit.
    MAX = 300
    KEEP = 100
    BATCH: Final = 1_000

    # Random, like the key: a sequence does not know the keys from fixtures. Small enough for SQLite, where a sum must
    # not exceed 63 bits.
    token = models.BigIntegerField(_("token"), db_column="number")
    trigger_ids = models.JSONField(_("triggers"), null=True, blank=True, help_text=_("Their ids. Empty: any."))
    pruned = models.JSONField(
        _("pruned"), null=True, blank=True, help_text=_("The tokens of the older changes that this one replaced.")
    )
    created_at = models.DateTimeField(_("created"), null=True, blank=True)

    class Meta:
        db_table = TABLE
        verbose_name = _("configuration change")
        verbose_name_plural = _("configuration changes")

    def __str__(self) -> str:
        return str(self.token)

    @classmethod
    def state(cls, using: str) -> State:
        """The committed rows in two numbers, with those that the open transaction on ``using`` inserted."""
        found = cls.objects.using(using).aggregate(count=Count("pk"), total=Sum("token"))
        return State(found["count"], int(found["total"] or 0))

    @classmethod
    def read(cls, using: str) -> ChangeLog:
        """All rows, by one query. Read them before the triggers, so that commits in between are read again."""

        def as_set(ids: list[int] | None) -> frozenset[int] | None:
            return None if ids is None else frozenset(ids)

        rows = cls.objects.using(using).values_list("token", "trigger_ids", "pruned")
        return ChangeLog({token: Change(as_set(ids), as_set(pruned)) for token, ids, pruned in rows})

    @classmethod
    def insert(cls, using: str, trigger_ids: Collection[int] | None, pruned: Collection[int] | None = None) -> None:
        """Add a row, in the transaction that is open on ``using``. See :class:`Change`."""
        token = _new_token()
        cls.objects.using(using).create(
            pk=token,
            token=token,
            trigger_ids=None if trigger_ids is None else sorted(trigger_ids),
            pruned=None if pruned is None else sorted(pruned),
            created_at=DatabaseNow(),
        )

    @classmethod
    def prune(cls, using: str) -> None:
        """Replace the oldest rows by one that names them, if there are too many. Does nothing in a transaction.

        Never waits for an editor or for another process that prunes.
        """
        connection = connections[using]
        if connection.in_atomic_block or (number := cls.state(using).rows) <= cls.MAX:
            return
        with transaction.atomic(using=using):
            rows = cls.objects.using(using).exclude(pk=cls.FIRST)
            if connection.features.has_select_for_update_skip_locked:
                rows = rows.select_for_update(skip_locked=True)
            rows = rows.order_by(F("created_at").asc(nulls_first=True), "pk")
            old = dict(rows.values_list("pk", "token")[: min(number - cls.KEEP, cls.BATCH)])
            if old:
                # Key by key: for a list of keys MariaDB may read all rows and wait for those of open transactions.
                with connection.cursor() as cursor:
                    cursor.executemany(f"DELETE FROM {TABLE} WHERE id = %s", [(pk,) for pk in old])  # noqa: S608 - a constant
                cls.insert(using, None, old.values())


def _new_token() -> int:
    # Not from the module random, which tests seed. Smaller numbers are used by the previous version.
    return ConfigurationChange.FIRST + 1 + secrets.randbits(44)


@receiver(pre_save, sender=ConfigurationChange, dispatch_uid="dsn_change_loading")
def _change_is_loaded(instance: ConfigurationChange, raw: bool, **kwargs: object) -> None:
    """Give a row from a fixture a new token: other processes may have read the old one with other triggers."""
    if raw:
        instance.token, instance.trigger_ids, instance.pruned = _new_token(), None, None


@receiver(post_save, sender=ConfigurationChange, dispatch_uid="dsn_change_loaded")
def _change_was_loaded(raw: bool, using: str, **kwargs: object) -> None:
    """A fixture, or rows that a test restores, may have added and removed triggers without a signal."""
    if raw:
        configuration_changed.send(sender=ConfigurationChange, using=using, trigger_ids=None)
