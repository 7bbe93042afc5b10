"""The seed's way: messengers whose ``send`` renders, chooses users and sends by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db import connections, transaction
from django.db.models import Exists, OuterRef, QuerySet

from dsn_core import conf
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger, send_arguments
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.exceptions import ConfigurationError, NotStored, RenderingError
from dsn_core.masking import exc_info
from dsn_core.models import Delivery, Event
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.delivery import ERROR_LENGTH, NO_ADDRESS, Status, address_key
from dsn_core.models.sql import storable
from dsn_core.models.subscription import Priority
from dsn_core.plugins.calls import reraise_interrupt, tidied
from dsn_core.plugins.errors import describe, told
from dsn_core.plugins.registry import registry
from dsn_core.queue import inserting
from dsn_core.queue.claiming import Claim, claim
from dsn_core.queue.pages import break_up_due
from dsn_core.queue.schedule import Due
from dsn_core.queue.waits import backoff
from dsn_core.rendering.locales import Locales
from dsn_core.sending import addresses, only_to
from dsn_core.sending.batch import Batch
from dsn_core.sending.handing_over import ProviderConnections
from dsn_core.sending.preparing import addressed, keep_to_listed
from dsn_core.sending.settling import Verdict

logger = logging.getLogger("dsn_core.sending")

NOT_LISTED: Final = (
    "The messenger rendered for a user that DSN['ONLY_TO'] does not list, and its call ended there. Use a receiver "
    "resolver, and let the messenger send to the users that it is given: these can be told apart before."
)
WITHDRAWN: Final = "Its lease was lost while the messenger rendered: another worker may have it."


class LegacyWay:
    """The adapter of messengers that override ``send``: a claim is one call of it, about one event and backend."""

    takes_messages: ClassVar[bool] = False

    @staticmethod
    def claim(messenger: BaseMessenger, using: str, limit: int, due: Sequence[Due]) -> Claim[Delivery] | None:
        """Claim what one call is about: all users of one event and backend, however many.

        A class that sets ``batch_size`` itself gets its users in batches of that size. An event that is
        still being expanded waits, so that its call has all of them.
        """
        # Its pages are older than its ``send``, or of a process that knew another class by its name.
        break_up_due(messenger.alias, using)
        rows = Delivery.objects.using(using).filter(messenger=messenger.alias)
        calls = (LegacyWay._claim_call(messenger, rows.filter(priority=priority)) for priority in Priority.values)
        return next((call for call in calls if call is not None), None)

    @staticmethod
    def _claim_call(messenger: BaseMessenger, rows: QuerySet[Delivery]) -> Claim[Delivery] | None:
        expanding = Event.objects.using(rows.db).filter(pk=OuterRef("event"), status=Event.Status.EXPANDING)
        first = (
            rows.filter(~Exists(expanding), not_before__lte=DatabaseNow())
            .order_by("not_before", "id")
            .values("event_id", "backend_id")
            .first()
        )
        if first is None:
            return None
        most = messenger.batch_size if messenger.sets_batch_size() else None
        call_rows = rows.filter(**first)
        if not connections[rows.db].features.has_select_for_update:
            # The one writer takes all of them or none.
            return claim(call_rows, limit=most, status=Status.SENDING)
        with transaction.atomic(using=rows.db):
            if not _is_alone_with(first["event_id"], rows.db):
                return None
            return claim(call_rows, limit=most, status=Status.SENDING)

    @staticmethod
    def send(messenger: BaseMessenger, batch: Batch, in_hand: ProviderConnections) -> None:
        """Call it once for the batch."""
        keep_to_listed(batch, messenger)
        batch.paced = len(batch.open)
        if in_hand.take(batch):
            try:
                call(batch, messenger)
            finally:
                in_hand.free(batch)


def _is_alone_with(event_id: int, using: str) -> bool:
    """Lock the event, so that no other worker takes some of the call's users at the same moment."""
    event = Event.objects.using(using).filter(pk=event_id)
    locked = event.select_for_update(skip_locked=connections[using].features.has_select_for_update_skip_locked)
    return bool(list(locked.values_list("pk"))) or not event.exists()


class Refused(BaseException):
    """Raised into a messenger that rendered what it may not send: its lease was lost, or ``ONLY_TO`` forbids it.

    No ``Exception``: a messenger that forgives each user's trouble must not go on to send.
    """


class RecordingTemplate:
    """Stands for the message template, and remembers the users that it was rendered for.

    Such a message counts as handed over. None is rendered for a messenger that may not send it any more.
    """

    def __init__(
        self, template: BaseMessageTemplate, messenger: BaseMessenger, rows: Mapping[Any, Delivery], batch: Batch
    ) -> None:
        self._template = template
        self._messenger = messenger
        self._batch = batch
        self._rows = rows
        self._locales = Locales()
        self.rendered: dict[Any, Any] = {}
        #: The users that it was not rendered for, since they may not have the message.
        self.unlisted: list[Any] = []
        #: Why the message of a user is never to be sent.
        self.failed: dict[Any, str] = {}
        #: Whether a message was refused.
        self.is_withdrawn = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def render(
        self,
        user: Any = None,
        trigger_context: Mapping[str, Any] | None = None,
        signal_kwargs: Mapping[str, Any] | None = None,
    ) -> Message:
        """As :meth:`BaseMessageTemplate.render`, in the user's language and time zone."""
        key = getattr(user, "pk", None)
        # Of a user that it chose itself, the delivery that carries the call.
        row = self._rows.get(key) or self._rows.get(None)
        if key not in self._rows and not self._is_listed(user):
            self.unlisted.append(key)
            raise Refused(NOT_LISTED)
        self._batch.go_on()
        with self._locales.of(user), tidied(f"message template {self._template.name!r}"):
            message = self._template.render(user, trigger_context, signal_kwargs)
        if isinstance(message, Message):
            origin = row or self._batch.rows[0]
            try:
                addressed(message, origin, origin.event, user, self._template, conf.current().MAX_MESSAGE_BYTES)
            except RenderingError as error:
                self.failed[key] = describe(error)
                raise
            if key not in self._rows:
                message.id = f"{origin.occurrence.hex}.{origin.backend_id}-{key}"
        if not self._batch.hand_over([row.message_id] if row is not None else []):
            self.is_withdrawn = True
            raise Refused(WITHDRAWN)
        self.rendered[key] = user
        return message

    def _is_listed(self, user: Any) -> bool:
        """Whether ``user``, which the messenger chose itself, may have the message."""
        if only_to.patterns() is None:
            return True
        if user is None:
            return False
        address = ""
        if self._messenger.needs_address:
            address = str(addresses.of_users([user], self._messenger, self._batch.using).get(user.pk) or "")
        return only_to.is_listed(address or only_to.email_of(user))


def call(batch: Batch, messenger: BaseMessenger) -> None:
    """Call the messenger's ``send`` once for the batch, which is of one event and backend."""
    for row in batch.open:
        if row.address:
            batch.end(row, Status.SKIPPED, f"{messenger.alias} chooses among users; it takes no bare address.")
    rows = batch.open
    if not rows:
        if batch.go_on():
            _carry_on(batch)
        return
    try:
        template = registry.message_template(rows[0].backend.message_template)
        locales = Locales()
        for row in rows:
            locales.of_user(row.user if row.user_id is not None else None)
    except ConfigurationError as error:
        batch.hold(rows, str(error))
        return
    if not batch.go_on():
        return
    by_user = {row.user_id: row for row in rows}
    recorder = RecordingTemplate(template, messenger, by_user, batch)
    error_text, is_lasting = _send(messenger, recorder, [row.user for row in rows if row.user_id is not None], rows[0])
    done = Verdict(Status.SENT)
    left: Verdict | None = Verdict(Status.SKIPPED, "The messenger rendered no message for this receiver.")
    call_only: Verdict | None = Verdict(
        Status.SKIPPED, "It carried the call: the messenger chose its receivers itself."
    )
    if error_text:
        done = Verdict(Status.RETRY if messenger.retry_unknown else Status.UNKNOWN, error_text)
        # One moment for all of them: the next call is to have all its users again. What was withdrawn is given back.
        left = None if recorder.is_withdrawn else Verdict(Status.RETRY, error_text, after=backoff(rows[0].attempts))
        if is_lasting:
            left = Verdict(Status.FAILED, error_text)
        # Users that it chose itself it would choose, and reach, again.
        call_only = done if recorder.rendered else left
    if recorder.unlisted:
        # Not once more: it would choose the same again, and may have sent to those before.
        done, left = Verdict(Status.UNKNOWN, error_text), Verdict(Status.SKIPPED, error_text)
        unlisted = [key for key in recorder.unlisted if key is not None]
        _record_chosen(unlisted, rows[0], Verdict(Status.SKIPPED, f"{only_to.UNLISTED}."), batch)
    for key, row in by_user.items():
        if key in recorder.failed and key not in recorder.rendered:
            batch.verdicts[row.pk] = Verdict(Status.FAILED, recorder.failed[key])
            continue
        verdict = done if key in recorder.rendered else call_only if key is None else left
        if verdict is not None:
            batch.verdicts[row.pk] = verdict
    chosen = [key for key in recorder.rendered if key is not None and key not in by_user]
    _record_chosen(chosen, rows[0], done, batch)


def _send(
    messenger: BaseMessenger, template: RecordingTemplate, users: Sequence[Any], row: Delivery
) -> tuple[str, bool]:
    """Call it; return what it raised, as text, or an empty string, and whether another call would raise the same."""
    activity = row.event.activity
    given = {
        "template": template,
        "sender": activity.sender,
        "users": users,
        "trigger_context": activity.trigger_context,
        "signal_kwargs": dict(activity.signal_kwargs),
    }
    try:
        with tidied(f"messenger {messenger.alias!r}"):
            messenger.send(**{name: given[name] for name in send_arguments(messenger)})
    except BaseException as error:
        reraise_interrupt(error)
        mask = messenger.options.mask
        text = told(error, type(messenger), mask)
        logger.warning("The messenger %s raised %s", messenger.alias, text, exc_info=exc_info(error, mask))
        # What the event did not store, it never will.
        return text, isinstance(error, NotStored)
    # It may have swallowed the refusal.
    return NOT_LISTED if template.unlisted else WITHDRAWN if template.is_withdrawn else "", False


def _carry_on(batch: Batch) -> None:
    """None of the receivers is left: the call is made all the same, carried by a delivery without a receiver.

    Not after a call that reached a user: a messenger that chooses its users itself would reach them again.
    """
    row = batch.rows[0]
    has_expired = row.expires_at is not None and row.expires_at <= batch.clock.now()
    if has_expired or only_to.patterns() is not None:
        return
    others = Delivery.objects.using(batch.using).filter(event=row.event_id, backend=row.backend_id)
    others = others.exclude(pk__in=[row.pk for row in batch.rows]).exclude(status=Status.SKIPPED)
    skipped = all(verdict.status is Status.SKIPPED for verdict in batch.verdicts.values())
    if skipped and not others.exists():
        now = batch.clock.now()
        carrier = row.like(address_key=address_key(NO_ADDRESS), not_before=now, created_at=now)
        inserting.insert([carrier], batch.using)


def _record_chosen(keys: Sequence[Any], row: Delivery, verdict: Verdict, batch: Batch) -> None:
    """Users that the messenger chose itself get their deliveries, for the record."""
    now = batch.clock.now()
    status = Status.UNKNOWN if verdict.status is Status.RETRY else verdict.status
    error = storable(verdict.error, ERROR_LENGTH)
    inserting.insert(
        [
            row.like(user_id=key, status=status, attempts=1, last_error=error, created_at=now, finished_at=now)
            for key in keys
        ],
        batch.using,
    )
