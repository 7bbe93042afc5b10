"""What all workers of a database share: its environment, their heartbeats, and the state of each messenger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dsn_core.conf import MAX_ENVIRONMENT
from dsn_core.contracts.naming import MAX_NAME_LENGTH

HOST_LENGTH: Final = 255
VERSION_LENGTH: Final = 50


class Environment(models.Model):
    """The name that ``DSN["ENVIRONMENT"]`` had when this database was adopted: one row, or none.

    It is part of every copy of the database, and so tells a copy from the original.
    """

    #: The key of the one row.
    ONLY: Final = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    name = models.CharField(_("name"), max_length=MAX_ENVIRONMENT)
    adopted_at = models.DateTimeField(_("adopted"), default=timezone.now)

    class Meta:
        verbose_name = _("environment")
        verbose_name_plural = _("environments")

    def __str__(self) -> str:
        return self.name


class WorkerHeartbeat(models.Model):
    """One worker process, and when it was last seen, by the database's clock."""

    host = models.CharField(_("host"), max_length=HOST_LENGTH)
    process = models.PositiveBigIntegerField(_("process"))
    version = models.CharField(_("version"), max_length=VERSION_LENGTH, blank=True)
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    seen_at = models.DateTimeField(_("last seen"), default=timezone.now)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ["-seen_at"]

    def __str__(self) -> str:
        return f"{self.process} on {self.host}"


class MessengerStateQuerySet(models.QuerySet["MessengerState"]):
    def make_known(self, messengers: Iterable[str]) -> None:
        """Create the missing rows of ``messengers``: workers look only for deliveries of messengers with a row."""
        wanted = set(messengers)
        for name in wanted - set(self.filter(messenger__in=wanted).values_list("messenger", flat=True)):
            self.get_or_create(messenger=name)


class MessengerState(models.Model):
    """One messenger (or account) with deliveries: its pause and its rate, for all workers."""

    messenger = models.CharField(_("messenger"), max_length=MAX_NAME_LENGTH, unique=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    pause_reason = models.TextField(_("reason of the pause"), blank=True)
    #: When it last asked for a pause, and when it is known to have sent a message after one. If other messages were
    #: sent between two pauses, the message at which it paused is the cause; if none was, the account is.
    paused_at = models.DateTimeField(_("last asked for a pause"), null=True, blank=True)
    sent_at = models.DateTimeField(_("sent after a pause"), null=True, blank=True)
    #: When the rate, shared by all workers, lets the next message be sent.
    rate_next_at = models.DateTimeField(_("next at its rate"), null=True, blank=True)

    objects = MessengerStateQuerySet.as_manager()

    class Meta:
        verbose_name = _("messenger state")
        verbose_name_plural = _("messenger states")
        ordering = ["messenger"]

    def __str__(self) -> str:
        return self.messenger
