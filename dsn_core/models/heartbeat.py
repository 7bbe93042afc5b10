"""Heartbeats of workers, by which their presence is checked."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

HOST_LENGTH: Final = 255
VERSION_LENGTH: Final = 50


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
