"""Deliveries of one claim on their way to the messenger."""

from __future__ import annotations

import copy
import datetime
import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Model
from django.utils.timezone import is_aware, is_naive, make_naive

from dsn_core import conf, context
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receipts import Receipt
from dsn_core.contracts.receivers import Hold
from dsn_core.exceptions import PayloadError
from dsn_core.models import Backend, Delivery, Event
from dsn_core.models.delivery import Status
from dsn_core.plugins.calls import tidied
from dsn_core.queue.claiming import Claim
from dsn_core.sending.addresses import users_by_key, with_addresses
from dsn_core.sending.settling import Verdict, end, settle, verdict_of

logger = logging.getLogger("dsn_core.sending")

#: Between these a filter's hold ends: a shorter one would be asked about over and over, a longer one is asked again.
SHORTEST_HOLD, LONGEST_HOLD = datetime.timedelta(minutes=1), datetime.timedelta(days=31)


class Batch:
    """Claimed deliveries on their way, one portion after the other. A row that has a verdict takes no further step."""

    def __init__(
        self,
        claimed: Claim[Delivery],
        using: str,
        stop: Callable[[], bool] = lambda: False,
        *,
        is_stubborn: bool = False,
    ) -> None:
        self.rows = claimed.rows
        #: How deep the deepest of its events stands in a chain of messages that caused one another.
        self.depth = 0
        self._claimed = claimed
        self._unsettled = list(claimed.rows)
        self._stop = stop
        #: Whether settling is tried until ``stop()``, also when the lease is over: no other worker could take the rows.
        self._is_stubborn = is_stubborn
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
        #: How many messages the messenger's rate counts: what was excluded, or could not be rendered, is none.
        self.paced = 0
        #: Held while it is decided whether messages are handed over or given up, by two threads at once.
        self._deciding = threading.Lock()
        self._is_abandoned = False
        #: Whether the last try to settle failed.
        self.is_stuck = False
        self.retry_unknown = False
        #: Whether its messenger asked for a pause, and nothing is known to have been sent by it since then.
        self.is_doubted = False
        #: When its rows were looked for, and when it last showed that it goes on, by this process's own clock.
        self.begun_at = time.monotonic()
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

    def hand_over(self, ids: Iterable[str]) -> bool:
        """The gate through which alone messages reach a messenger: whether it may be given those with ``ids`` now.

        Not when the lease was lost, or another thread gave the batch up, while they were filtered and rendered.
        """
        self.alive_at = time.monotonic()
        is_held = self._claimed.hold(self._unsettled, self.using)
        with self._deciding:
            if is_held and not self._is_abandoned:
                self.handed_over |= frozenset(ids)
                return True
        self.is_broken_off = True
        return False

    def give_back(self) -> None:
        """Leave the open rows to the next worker, as if they had not been claimed."""
        self.given_back = len(self.open)
        self.verdicts.update({row.id: _given_back(row) for row in self.open})

    def settle(self, *, is_patient: bool = True) -> None:
        """Write down what was decided."""
        decided: list[Delivery] = []
        left: list[Delivery] = []
        for row in self._unsettled:
            (decided if row.id in self.verdicts else left).append(row)
        if decided:
            with context.working_on(self.depth):
                insists = self._insists if is_patient else None
                settle(decided, self._claimed, self.verdicts, self.using, insists)
            self._unsettled, self._open, self._decided = left, left, len(self.verdicts)
            if not left:
                end(self._claimed, self.verdicts, self.using, insists)
            self.is_stuck = False

    def _insists(self) -> bool:
        # Trying to settle is a sign of life: others could write no more than this thread can.
        self.alive_at, self.is_stuck = time.monotonic(), True
        return self._claimed.is_ours() or (self._is_stubborn and not self._stop())

    def break_off(self, reason: str) -> None:
        """Decide about the open rows when their process, request or green thread is interrupted."""
        if self.handed_over:
            at_hand = set()
        elif self.portion:
            # The row that is being rendered.
            rendered = {row.id for row in self.in_hand.values()}
            waiting = (row.id for row in self.portion if row.id not in self.verdicts and row.id not in rendered)
            at_hand = set(itertools.islice(waiting, 1))
        else:
            # In a filter or a call of the seed's way, it may be any.
            at_hand = {row.id for row in self.open}
        # Due at once, but the attempt counts: it may be what took so long.
        self._decide(self.open, self.verdicts, reason, at_hand, Verdict(Status.RETRY, reason, after=0.0))

    def abandon(self, reason: str) -> int:
        """Settle it in the place of a messenger that hangs, from another thread; return how many rows were still ours.

        Should the thread come back, it hands over no more, and what it says is refused: the rows are not its own.
        """
        with self._deciding:
            self._is_abandoned = self.is_broken_off = True
        begun = {row.id for row in self.portion or self._unsettled}
        # Copies: the thread that hangs has the rows, too.
        rows, verdicts = [copy.copy(row) for row in self._unsettled], dict(self.verdicts)
        # If it hangs in a filter, a template or the database, nothing was sent.
        hung = Verdict(Status.RETRY, "It hung before it was given to its messenger.")
        self._decide(rows, verdicts, reason, begun, hung)
        with context.working_on(self.depth):
            settled = settle(rows, self._claimed, verdicts, self.using)
        end(self._claimed, verdicts, self.using)
        return settled

    def _decide(
        self,
        rows: Iterable[Delivery],
        verdicts: dict[int, Verdict],
        reason: str,
        begun: Collection[int],
        of_begun: Verdict,
    ) -> None:
        """Complete ``verdicts`` where the messenger says no more: those that were not ``begun`` are given back."""
        for row in rows:
            if row.id in verdicts:
                continue
            if row.message_id in self.handed_over:
                receipt = self.receipts.get(row.message_id) or Receipt.unknown(reason)
                verdicts[row.id] = verdict_of(receipt, retry_unknown=self.retry_unknown)
            else:
                verdicts[row.id] = of_begun if row.id in begun else _given_back(row)

    def has_sent(self) -> bool:
        return any(verdict.status is Status.SENT for verdict in self.verdicts.values())

    def end(self, row: Delivery, status: Status, error: str) -> None:
        self.verdicts[row.pk] = Verdict(status, error)

    def hold(self, rows: Sequence[Delivery], why: str) -> None:
        """Let ``rows`` wait for something to be installed, or for a setting to be mended."""
        self.verdicts.update({row.pk: Verdict(Status.RETRY, why, counts=False, held=True) for row in rows})

    def postpone(self, row: Delivery, hold: Hold) -> None:
        """Let it wait as a filter asks. It goes back to pending, as if it had not been claimed."""
        soonest, latest = (self.clock.now(span.total_seconds()) for span in (SHORTEST_HOLD, LONGEST_HOLD))
        wanted = make_naive(hold.until) if is_naive(soonest) and is_aware(hold.until) else hold.until
        until = min(max(wanted, soonest), latest)
        self.verdicts[row.id] = Verdict(Status.PENDING, hold.reason, not_before=until, counts=False)

    def end_open(self, verdict: Verdict) -> None:
        self.verdicts.update({row.pk: verdict for row in self.open})

    def retire(self, rows: Iterable[Delivery]) -> None:
        """End those of ``rows`` that have expired by now, and those whose last attempt was never settled."""
        now, limit = self.clock.now(), conf.current().MAX_ATTEMPTS
        for row in rows:
            if row.attempts <= limit and (row.expires_at is None or row.expires_at > now):
                continue
            before = f" Before that: {row.last_error}" if row.last_error else ""
            if row.attempts > limit:
                self.end(
                    row,
                    Status.FAILED,
                    f"Given up after {limit} attempts. The worker of the last one ended, or lost its lease, before it "
                    f"said what became of the message: it may have been sent, or it may be what ends workers.{before}",
                )
            else:
                moment = f"{row.expires_at:%Y-%m-%d %H:%M:%S %Z}".strip()
                said = f"It expired at {moment}, before it was sent; it is not sent late.{before}"
                self.end(row, Status.SKIPPED, said)

    def load_events(self) -> None:
        """Attach each row's event with its payload decoded, once per event."""
        events = Event.objects.using(self.using).order_by().in_bulk({row.event_id for row in self.open})
        self.depth = max((event.depth for event in events.values()), default=0)
        unreadable: dict[int, tuple[Status, str]] = {}
        for event in events.values():
            try:
                with tidied("codecs of the plugins"):
                    event.activity  # noqa: B018 - read for its error
            except PayloadError as error:
                unreadable[event.pk] = (Status.FAILED, str(error))
                logger.error("Event %s cannot be read: %s", event.pk, error, exc_info=error)
            except MemoryError:
                text = "There was no memory left to read what the signal said (MemoryError)."
                unreadable[event.pk] = (Status.RETRY, text)
        self._attach(
            "event", events, Status.FAILED, "Its event was purged before it was sent: nothing is left to send."
        )
        if unreadable:
            for row in self.open:
                if row.event_id in unreadable:
                    self.end(row, *unreadable[row.event_id])

    def load_backends(self) -> None:
        """Attach each row's backend."""
        backends = Backend.objects.using(self.using).order_by().in_bulk({row.backend_id for row in self.open})
        missing = "Its backend was deleted before it was sent. Subscribe another, for what happens from then on."
        self._attach("backend", backends, Status.FAILED, missing)

    def load_users(self, messenger: BaseMessenger) -> None:
        """Attach each row's user, all with one query, which also gets what the paths from the user lead through."""
        paths = (conf.current().LANGUAGE_PATH, conf.current().TIME_ZONE_PATH, messenger.path_to_address)
        keys = {row.user_id for row in self.open if row.user_id is not None}
        users = with_addresses(get_user_model()._base_manager.using(self.using), messenger)
        self._attach("user", users_by_key(users, keys, paths), Status.SKIPPED, "The user was deleted.")

    def _attach(self, name: str, found: Mapping[Any, Model], status: Status, missing: str) -> None:
        attribute = f"{name}_id"
        for row in self.open:
            key = getattr(row, attribute)
            if key in found:
                # What ``row.event = ...`` does with a value that the row's own key has found, for thousands of rows.
                row._state.fields_cache[name] = found[key]
            elif key is not None:
                self.end(row, status, missing)


def _given_back(row: Delivery) -> Verdict:
    status = Status.RETRY if row.attempts > 1 else Status.PENDING
    # In its old place: what was put behind it stays behind it.
    return Verdict(status, row.last_error, not_before=row.due_at, after=0.0, counts=False, given_back=True)
