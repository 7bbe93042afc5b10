"""Deliveries of one claim on their way to the messenger."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet
from django.db.utils import Error as DatabaseTrouble

from dsn_core import conf
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Receipt
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.exceptions import ConfigurationError, PayloadError, UnknownName
from dsn_core.models import Backend, Delivery, Event
from dsn_core.models.delivery import Status
from dsn_core.payload.private import refuse_sensitive
from dsn_core.pipeline import context
from dsn_core.pipeline.claiming import Claim
from dsn_core.pipeline.locales import Locales
from dsn_core.pipeline.settling import Verdict, settle, verdict_of
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import registry

#: The way out of a failure that somebody can mend, at the end of its message.
SEND_AGAIN: Final = "Then send the delivery again: in the admin, or by Delivery.objects.retry()."


class Batch:
    """Claimed deliveries on their way, one portion after the other. A row that has a verdict takes no further step."""

    def __init__(self, claimed: Claim[Delivery], using: str, stop: Callable[[], bool] = lambda: False) -> None:
        self.rows = claimed.rows
        #: How deep the deepest of its events stands in a chain of messages that caused one another.
        self.depth = 0
        self._claimed = claimed
        self._unsettled = list(claimed.rows)
        self._stop = stop
        #: Whether it ends early: the worker is to stop, its time is over, or another one took rows over.
        self.is_broken_off = False
        #: How many rows it left to the next worker.
        self.given_back = 0
        self.clock = claimed.clock
        self.using = using
        self.verdicts: dict[int, Verdict] = {}
        self._open = self._unsettled
        self._decided = 0
        #: What the messenger has in hand, what of it was rendered, and its answers so far; both by message id.
        self.portion: list[Delivery] = []
        self.in_hand: dict[str, Delivery] = {}
        self.receipts: dict[str, Receipt] = {}
        #: The ids of the messages that the messenger was given: only of these can anything have been sent.
        self.handed_over: frozenset[str] = frozenset()
        self.retry_unknown = False
        #: When it last showed that it goes on, by this process's own clock.
        self.alive_at = time.monotonic()

    @property
    def open(self) -> list[Delivery]:
        """The rows that nothing was decided about yet."""
        if self._decided != len(self.verdicts):
            self._decided, self._open = len(self.verdicts), [row for row in self._open if row.id not in self.verdicts]
        return self._open

    def next_portion(self, size: int) -> bool:
        """Turn to the next ``size`` open rows; False when there are none, or it is to end."""
        self.receipts, self.in_hand, self.handed_over = {}, {}, frozenset()
        self.portion = self.open[:size]
        return bool(self.portion) and self.go_on()

    def go_on(self) -> bool:
        """Whether to go on with the next message. Asked between any two, it also holds on to the rows."""
        self.alive_at = time.monotonic()
        if not self.is_broken_off:
            self.is_broken_off = self._stop() or not self._claimed.keep(self._unsettled, self.using)
        return not self.is_broken_off

    def give_back(self) -> None:
        """Leave the open rows to the next worker, as if they had not been claimed."""
        self.given_back = len(self.open)
        for row in self.open:
            self.verdicts[row.id] = _given_back(row)

    def settle(self) -> None:
        """Write down what was decided."""
        decided: list[Delivery] = []
        left: list[Delivery] = []
        for row in self._unsettled:
            (decided if row.id in self.verdicts else left).append(row)
        if decided:
            with context.working_on(self.depth):
                settle(decided, self._claimed, self.verdicts, self.using)
            self._unsettled, self._open, self._decided = left, left, len(self.verdicts)

    def abandon(self, reason: str) -> int:
        """Settle it in the place of a messenger that hangs, from another thread; return how many rows were still ours.

        Should the messenger come back, what it says then is refused: the rows are not its thread's any more.
        """
        self.is_broken_off = True
        begun = {row.id for row in self.portion or self._unsettled}
        answers, handed_over = dict(self.receipts), self.handed_over
        # Copies: the thread that hangs has the rows, too.
        rows = [copy.copy(row) for row in self._unsettled]
        verdicts = dict(self.verdicts)
        for row in rows:
            if row.id in verdicts:
                continue
            if row.message_id in handed_over:
                receipt = answers.get(row.message_id) or Receipt.unknown(reason)
                verdicts[row.id] = verdict_of(receipt, retry_unknown=self.retry_unknown)
            elif row.id in begun:
                # A filter, a template or the database hangs: nothing was sent.
                verdicts[row.id] = Verdict(Status.RETRY, "It hung before it was given to its messenger.")
            else:
                verdicts[row.id] = _given_back(row)
        with context.working_on(self.depth):
            return settle(rows, self._claimed, verdicts, self.using, is_patient=False)

    def end(self, row: Delivery, status: Status, error: str) -> None:
        self.verdicts[row.pk] = Verdict(status, error)

    def end_open(self, verdict: Verdict) -> None:
        self.verdicts.update({row.pk: verdict for row in self.open})

    def drop_exhausted(self) -> None:
        """End the rows whose attempts are used up, and whose last attempt was never settled: its worker died."""
        limit = conf.current().MAX_ATTEMPTS
        for row in self.open:
            if row.attempts > limit:
                before = f" Before that: {row.last_error}" if row.last_error else ""
                self.end(
                    row,
                    Status.FAILED,
                    f"Given up after {limit} attempts. The worker of the last one ended, or lost its lease, before it "
                    f"said what became of the message: it may have been sent, or it may be what ends workers.{before}",
                )

    def load_events(self) -> None:
        """Attach each row's event with its payload decoded, once per event."""
        events = Event.objects.using(self.using).in_bulk({row.event_id for row in self.open})
        self.depth = max((event.depth for event in events.values()), default=0)
        unreadable = {}
        for event in events.values():
            try:
                event.activity  # noqa: B018 - read for its error
            except PayloadError as error:
                unreadable[event.pk] = str(error)
        for row in self.open:
            event_id = row.event_id
            if event_id not in events:
                self.end(row, Status.FAILED, "Its event was purged before it was sent: nothing is left to send.")
                continue
            _attach(row, "event", events[event_id])
            if event_id in unreadable:
                self.end(row, Status.FAILED, unreadable[event_id])

    def load_backends(self) -> None:
        """Attach each row's backend."""
        backends = Backend.objects.using(self.using).in_bulk({row.backend_id for row in self.open})
        for row in self.open:
            if (backend := backends.get(row.backend_id)) is not None:
                _attach(row, "backend", backend)
            else:
                self.end(
                    row,
                    Status.FAILED,
                    "Its backend was deleted before it was sent. Subscribe another, for what happens from then on.",
                )

    def load_users(self, path_to_address: str) -> None:
        """Attach each row's user, all with one query, which also gets what the paths from the user lead through."""
        paths = (conf.current().LANGUAGE_PATH, conf.current().TIME_ZONE_PATH, path_to_address)
        keys = {row.user_id for row in self.open if row.user_id is not None}
        users: QuerySet[Any] = get_user_model()._base_manager.using(self.using)
        if related := {name for path in paths if (name := relations_of(get_user_model(), path))}:
            users = users.select_related(*related)
        found = users.in_bulk(keys) if keys else {}
        for row in self.open:
            user_id = row.user_id
            if user_id is None:
                continue
            if (user := found.get(user_id)) is not None:
                _attach(row, "user", user)
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
            refuse_sensitive(messenger.path_to_address, get_user_model())
            given = messenger.addresses(list({row.user_id: row.user for row in rows}.values()))
            found = {key: str(address) for key, address in given.items() if address}
        except Exception as error:
            status = Status.FAILED if isinstance(error, ConfigurationError) else Status.RETRY
            why = messenger.options.mask(describe(error))
            for row in rows:
                self.end(row, status, f"The addresses of the users could not be found: {why}")
            return
        for row in rows:
            row.address = found.get(row.user_id, "")
            if not row.address:
                self.end(row, Status.SKIPPED, f"The user has no address for {messenger.alias}.")

    def render(self) -> list[Message]:
        """Render the portion; a row that fails is its own failure. Returns the messages, with who gets them."""
        messages = []
        templates: dict[str, BaseMessageTemplate] = {}
        with Locales() as locales:
            for row in self.portion:
                if not self.go_on():
                    return []
                known = row._state.fields_cache
                name, activity, user = known["backend"].message_template, known["event"].activity, known.get("user")
                try:
                    if name not in templates:
                        templates[name] = registry.message_template(name)
                    locales.switch(user)
                    rendered = templates[name].render(user, activity.trigger_context, activity.signal_kwargs)
                    message = addressed(rendered, row, user)
                    self.in_hand[message.id] = row
                    messages.append(message)
                except UnknownName as error:
                    self.end(row, Status.FAILED, f"{error} {SEND_AGAIN}")
                except DatabaseTrouble as error:
                    self.end(row, Status.RETRY, f"Rendering {name!r} failed: {describe(error)}")
                except Exception as error:
                    self.end(row, Status.FAILED, f"Rendering {name!r} failed: {describe(error)}")
        return messages


def _attach(row: Delivery, name: str, value: Model) -> None:
    """What ``row.name = value`` does with a value that the row's own key has found, for thousands of rows."""
    row._state.fields_cache[name] = value


def _given_back(row: Delivery) -> Verdict:
    status = Status.RETRY if row.attempts > 1 else Status.PENDING
    return Verdict(status, row.last_error, after=0.0, counts=False)


def addressed(rendered: Any, row: Delivery, user: Any) -> Message:
    """``rendered`` as the message of this delivery. A template may return any text."""
    message = rendered if isinstance(rendered, Message) else Message(str(rendered))
    message.id, message.address, message.user = row.message_id, row.address, user
    return message


def relations_of(model: type[Model], path: str) -> str:
    """The relations to one object each with which ``path`` from a ``model`` instance begins, for ``select_related``."""
    names: list[str] = []
    for name in path.split("."):
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            break
        if not (field.many_to_one or field.one_to_one) or not isinstance(field.related_model, type):
            break
        names.append(name)
        model = field.related_model
    return "__".join(names)
