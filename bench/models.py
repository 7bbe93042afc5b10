"""The models of the measured project, and those that its plain Django code works with."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone


class Film(models.Model):
    """An ordinary row of a project."""

    name = models.CharField(max_length=255)
    status = models.CharField(max_length=20, default="announced")
    price = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    released_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Plain(Film):
    """No trigger names it."""


class Busy(Film):
    """What the triggers of others are about."""


class Watched(Film):
    """One trigger matches whenever it is saved."""


class ByKey(Film):
    """1,000 triggers, each about one instance."""


class ByTarget(Film):
    """1,000 triggers, each with a target."""


class ByCondition(Film):
    """1,000 triggers, each with a condition of equality."""


class Few(Film):
    """10 triggers, of all three kinds."""


class Many(Film):
    """1,000 triggers, of all three kinds."""


class Most(Film):
    """10,000 triggers, of all three kinds."""


class OutboxRow(models.Model):
    """What a project would write into an outbox of its own: the columns and indexes of an event's row."""

    trigger_id = models.BigIntegerField(db_index=True)
    occurrence = models.UUIDField(default=uuid.uuid4, db_index=True)
    verb = models.CharField(max_length=100)
    payload = models.TextField()
    depth = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(max_length=10, default="pending")
    not_before = models.DateTimeField(null=True, default=timezone.now)
    lease_token = models.UUIDField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        indexes = [models.Index(fields=["not_before", "id"], name="bench_outbox_claim")]

    def __str__(self) -> str:
        return self.verb


class Job(models.Model):
    """What a project would write per receiver: a queue of its own, as the ORM makes it."""

    event_id = models.BigIntegerField(db_index=True)
    user_id = models.BigIntegerField()
    status = models.CharField(max_length=10, default="pending")
    attempts = models.PositiveSmallIntegerField(default=0)
    not_before = models.DateTimeField(null=True, default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event_id", "user_id"], name="bench_job_once")]
        indexes = [models.Index(fields=["not_before", "id"], name="bench_job_claim")]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.user_id}"
