"""Deliveries of one claim on their way to the messenger."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.db.models import QuerySet

from dsn_core import conf
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.exceptions import ConfigurationError, PayloadError
from dsn_core.models import Backend, Delivery, Event
from dsn_core.models.delivery import Status
from dsn_core.pipeline import context
from dsn_core.pipeline.claiming import Claim
from dsn_core.pipeline.rendering import locale_of
from dsn_core.pipeline.settling import Verdict
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import registry


class Batch:
    """Claimed deliveries on their way. A row that has a verdict takes no further step."""

    def __init__(self, claimed: Claim[Delivery], using: str) -> None:
        self.rows = claimed.rows
        self.clock = claimed.clock
        self.using = using
        self.verdicts: dict[int, Verdict] = {}

    @property
    def open(self) -> list[Delivery]:
        """The rows that nothing was decided about yet."""
        return [row for row in self.rows if row.pk not in self.verdicts]

    def end(self, row: Delivery, status: Status, error: str) -> None:
        self.verdicts[row.pk] = Verdict(status, error)

    def end_open(self, verdict: Verdict) -> None:
        self.verdicts.update({row.pk: verdict for row in self.open})

    def drop_exhausted(self) -> None:
        """End the rows whose attempts are used up although none of them was settled: their worker died each time."""
        limit = conf.current().MAX_ATTEMPTS
        for row in self.open:
            if row.attempts > limit:
                self.end(row, Status.FAILED, f"Given up: {limit} workers ended while they were sending this.")

    def load_events(self) -> None:
        """Attach each row's event with its payload decoded, once per event."""
        events = Event.objects.using(self.using).in_bulk({row.event_id for row in self.open})
        for row in self.open:
            event = events.get(row.event_id)
            if event is None:
                self.end(row, Status.FAILED, "Its event was purged before it was sent.")
                continue
            row.event = event
            try:
                event.activity  # noqa: B018 - read for its error
            except PayloadError as error:
                self.end(row, Status.FAILED, str(error))

    def load_backends(self) -> None:
        """Attach each row's backend."""
        backends = Backend.objects.using(self.using).in_bulk({row.backend_id for row in self.open})
        for row in self.open:
            if row.backend_id in backends:
                row.backend = backends[row.backend_id]
            else:
                self.end(row, Status.FAILED, "Its backend was deleted before it was sent.")

    def load_users(self) -> None:
        """Attach each row's user, all with one query."""
        keys = {row.user_id for row in self.open if row.user_id is not None}
        users: QuerySet[Any] = get_user_model()._base_manager.using(self.using).filter(pk__in=keys)
        found = {user.pk: user for user in users} if keys else {}
        for row in self.open:
            if row.user_id is None:
                continue
            if row.user_id in found:
                row.user = found[row.user_id]
            else:
                self.end(row, Status.SKIPPED, "The user was deleted.")

    def apply_filters(self) -> None:
        """End the rows that a receiver filter excludes."""
        for receiver_filter in registry.receiver_filters():
            rows = self.open
            if not rows:
                return
            try:
                excluded = dict(receiver_filter.exclude(rows))
            except Exception as error:
                self.end_open(
                    Verdict(Status.RETRY, f"The receiver filter {receiver_filter.name!r} failed: {describe(error)}")
                )
                return
            for row in rows:
                if row.pk in excluded:
                    self.end(row, Status.SKIPPED, str(excluded[row.pk]))

    def find_addresses(self, messenger: BaseMessenger) -> None:
        """Set each user's address, all at once."""
        rows = [row for row in self.open if row.user_id is not None]
        if not rows or not messenger.needs_address:
            return
        try:
            found = messenger.addresses(list({row.user_id: row.user for row in rows}.values()))
        except Exception as error:
            status = Status.FAILED if isinstance(error, ConfigurationError) else Status.RETRY
            for row in rows:
                self.end(row, status, f"The addresses of the users could not be found: {describe(error)}")
            return
        for row in rows:
            row.address = str(found.get(row.user_id) or "")
            if not row.address:
                self.end(row, Status.SKIPPED, f"The user has no address for {messenger.alias}.")

    def render(self) -> list[Message]:
        """Render the open rows; one that fails is its own failure. Returns the messages, with who gets them."""
        messages = []
        for row in self.open:
            try:
                template = registry.message_template(row.backend.message_template)
            except ConfigurationError as error:
                self.end(row, Status.FAILED, f"{error} Then retry the delivery.")
                continue
            event = row.event
            try:
                with context.working_on(event.depth), locale_of(row.user):
                    message = template.render(row.user, event.trigger_context, event.signal_kwargs)
            except DatabaseError as error:
                self.end(row, Status.RETRY, f"Rendering {template.name!r} failed: {describe(error)}")
                continue
            except Exception as error:
                self.end(row, Status.FAILED, f"Rendering {template.name!r} failed: {describe(error)}")
                continue
            messages.append(addressed(message, row))
        return messages


def addressed(message: Any, row: Delivery) -> Message:
    """``message`` as one of this delivery. A template may return any text."""
    if not isinstance(message, Message):
        message = Message(str(message))
    message.id, message.address, message.user = row.message_id, row.address, row.user
    return message
