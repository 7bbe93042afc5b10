"""Looking ahead: who has work that is due, and when the next falls due. Nothing is claimed."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import BooleanField, Exists, ExpressionWrapper, Model, OuterRef, Q, Subquery

from dsn_core.models import Delivery, DeliveryPage, Event, MessengerState
from dsn_core.models.clock import DatabaseNow, now_sql
from dsn_core.models.subscription import Priority
from dsn_core.queue import environment

#: What deliveries are claimed by: by themselves, or by their pages.
_CLAIMED: Final[tuple[type[Model], ...]] = (Delivery, DeliveryPage)


def due_messengers(using: str) -> list[str]:
    """The messengers (or accounts) with deliveries that are due, but for those that pause. Two queries.

    One that waits for its rate is among them: whoever sends by it waits that long.
    """
    now = DatabaseNow()
    due = {"messenger": OuterRef("messenger"), "priority__in": Priority.values, "not_before__lte": now}
    has_due = Q(*(Exists(model._base_manager.using(using).filter(**due)) for model in _CLAIMED), _connector=Q.OR)
    is_due = ExpressionWrapper(Q(Q(paused_until=None) | Q(paused_until__lte=now), has_due), BooleanField())
    states = MessengerState.objects.using(using).order_by("messenger")
    rows: Any = states.annotate(is_due=is_due, remembered=environment.remembered_query(using))
    rows = rows.values_list("messenger", "is_due", "remembered")
    found = list(rows)
    if _unknown_messenger([name for name, *_ in found], using) is not None:
        make_missing_known(using)
        found = list(rows.all())
    due_now = [name for name, is_due_now, _ in found if is_due_now]
    return due_now if due_now and environment.may_work(found[0][2], using) else []


class Due(NamedTuple):
    """Something that is due: of this priority, and whether it is a page or a delivery by itself."""

    priority: int
    is_page: bool


@dataclass(frozen=True)
class Look:
    """What a look at a messenger's work shows.

    ``due``: what there is to claim, the first one first; nothing while it pauses. ``is_doubted``: nothing is known to
    have been sent by it since it last asked for a pause.
    """

    due: Sequence[Due]
    is_doubted: bool


def look(alias: str, using: str) -> Look:
    """Look whether there is work for the messenger that may be done here. One query, which reads three indexes.

    Asked before each claim, and by idle workers all the time. Raw SQL: Django takes longer to write this query than the
    database to answer it.
    """
    connection = connections[using]
    quote, now = connection.ops.quote_name, now_sql(connection)
    state = quote(MessengerState._meta.db_table)
    messenger, priority, not_before = map(quote, ("messenger", "priority", "not_before"))
    # The first of each priority is one entry of the claim index.
    firsts = ", ".join(
        f"(SELECT {not_before} FROM {quote(model._meta.db_table)} WHERE {messenger} = %s AND {priority} = {int(one)} "  # noqa: S608 - names and numbers
        f"AND {not_before} <= {now} ORDER BY {not_before} LIMIT 1)"
        for one in Priority.values
        for model in _CLAIMED
    )
    of_state = f"SELECT 1 FROM {state} WHERE {messenger} = %s AND"  # noqa: S608 - names
    paused = f"{of_state} {quote('paused_until')} > {now}"
    # A comparison with NULL is none: one that never paused is not doubted.
    paused_at, sent_at = map(quote, ("paused_at", "sent_at"))
    doubted = f"{of_state} {paused_at} >= COALESCE({sent_at}, {paused_at})"
    with connection.cursor() as cursor:
        asked = f"SELECT EXISTS ({paused}), EXISTS ({doubted}), {environment.remembered_sql(using)}, {firsts}"
        cursor.execute(asked, [alias] * (2 + len(Priority.values) * len(_CLAIMED)))
        is_paused, is_doubted, remembered, *moments = cursor.fetchone()
    found = [
        (one, moment, model is DeliveryPage)
        for (one, model), moment in zip(itertools.product(Priority.values, _CLAIMED), moments, strict=True)
        if moment is not None
    ]
    may_work = bool(found) and not is_paused and environment.may_work(remembered, using)
    due = [Due(one, is_page) for one, _, is_page in sorted(found)] if may_work else []
    return Look(due, bool(is_doubted))


def has_events(using: str) -> bool:
    """Whether events are due, and may be expanded here. One query, which reads one entry of the claim index."""
    connection = connections[using]
    quote = connection.ops.quote_name
    table, not_before = map(quote, (Event._meta.db_table, "not_before"))
    due = f"SELECT 1 FROM {table} WHERE {not_before} <= {now_sql(connection)}"  # noqa: S608 - names
    with connection.cursor() as cursor:
        # With parameters, though there are none: the clock's percent signs are written twice.
        cursor.execute(f"SELECT EXISTS ({due}), {environment.remembered_sql(using)}", [])
        is_due, remembered = cursor.fetchone()
    return bool(is_due) and environment.may_work(remembered, using)


def make_missing_known(using: str) -> bool:
    """Make the messenger states that are missing for deliveries there are; return whether any was.

    A state may be deleted, or restored from another moment than the deliveries. Two queries: the second looks for names
    between those that are known, and reads as many index entries as there are messengers, however many deliveries.
    """
    # In the order of the database: its collation decides what lies between two names.
    known = MessengerState.objects.using(using).order_by("messenger").values_list("messenger", flat=True)
    found = False
    while (name := _unknown_messenger(list(known.all()), using)) is not None:
        MessengerState.objects.using(using).make_known([name])
        found = True
    return found


def _unknown_messenger(known: Sequence[str], using: str) -> str | None:
    """The name of a messenger that deliveries wait for, and that is not among the ``known``, which are sorted."""
    connection = connections[using]
    quote = connection.ops.quote_name
    messenger = quote("messenger")
    # On MySQL the claim index holds the finished ones, too: to leave them out, all of them would be read.
    some = "1 = 1" if connection.vendor == "mysql" else f"{quote('not_before')} IS NOT NULL"
    gaps: list[str] = []
    params: list[str] = []
    for model, (below, above) in itertools.product(_CLAIMED, itertools.pairwise([None, *known, None])):
        bounds = [(">", below)] if below is not None else []
        bounds += [("<", above)] if above is not None else []
        where = " AND ".join([some, *(f"{messenger} {operator} %s" for operator, _ in bounds)])
        table = quote(model._meta.db_table)
        # A query of its own for each, and sorted, so that none reads more than the first entry of the claim index.
        gaps.append(
            f"SELECT * FROM (SELECT {messenger} FROM {table} WHERE {where} ORDER BY {messenger} LIMIT 1) AS gap"  # noqa: S608 - names
        )
        params += [name for _, name in bounds]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(gaps), params)
        found = cursor.fetchone()
    return None if found is None else str(found[0])


def seconds_overdue(using: str) -> dict[str, float]:
    """For each messenger with deliveries that are due, seconds since the oldest of them fell due. One query.

    Without those that pause or wait for their rate; none where another environment's database sends nothing.
    """
    states = MessengerState.objects.using(using).annotate(database_now=DatabaseNow(), **_firsts(using))
    states = states.annotate(remembered=environment.remembered_query(using))
    overdue: dict[str, float] = {}
    state: Any
    for state in states:
        moments = _moments_of(state)
        rests = [moment for moment in (state.paused_until, state.rate_next_at) if moment is not None]
        if moments and not environment.holds(state.remembered) and all(rest <= state.database_now for rest in rests):
            late = (state.database_now - min(moments)).total_seconds()
            if late > 0:
                overdue[state.messenger] = late
    return overdue


def seconds_until_due(using: str, without: Collection[str] = ()) -> float | None:
    """Seconds until the next event or delivery is due, 0.0 when one is now, None when none is open. Two queries.

    Deliveries of the messengers ``without`` are not looked at.
    Counts by the database's clock. What a worker holds is due at the end of its lease; what waits for
    a messenger's pause or rate, at the end of that.
    """
    # Each of these is the first entry of its part of the claim index, however many rows are open.
    states = MessengerState.objects.using(using).annotate(database_now=DatabaseNow(), **_firsts(using))
    states = states.exclude(messenger__in=without)
    waits = [wait for state in states if (wait := _wait_of(state)) is not None]
    events = Event.objects.using(using).filter(not_before__isnull=False).annotate(database_now=DatabaseNow())
    first: Any = events.order_by("not_before", "id").values_list("not_before", "database_now").first()
    if first is not None:
        waits.append(_seconds(*first))
    return min(waits, default=None)


def now(using: str) -> float:
    """Seconds since 1970 by the database's clock; 0.0 while no messenger is known, when nothing waits either."""
    moment = MessengerState.objects.using(using).values_list(DatabaseNow(), flat=True).first()
    return moment.timestamp() if moment else 0.0


def _firsts(using: str) -> dict[str, Subquery]:
    """When the first of each priority is due, by itself or as a page, for a messenger's state."""
    found = {}
    for number, (model, priority) in enumerate(itertools.product(_CLAIMED, Priority.values)):
        rows = model._base_manager.using(using).filter(
            messenger=OuterRef("messenger"), priority=priority, not_before__isnull=False
        )
        found[f"first_{number}"] = Subquery(rows.order_by("not_before", "id").values("not_before")[:1])
    return found


def _wait_of(state: Any) -> float | None:
    moments = _moments_of(state)
    if not moments:
        return None
    rests = [moment for moment in (state.paused_until, state.rate_next_at) if moment is not None]
    return _seconds(max(min(moments), *rests) if rests else min(moments), state.database_now)


def _moments_of(state: Any) -> list[datetime.datetime]:
    numbers = range(len(_CLAIMED) * len(Priority.values))
    firsts: Iterable[datetime.datetime | None] = [getattr(state, f"first_{number}") for number in numbers]
    return [moment for moment in firsts if moment is not None]


def _seconds(moment: datetime.datetime, now: datetime.datetime) -> float:
    return max((moment - now).total_seconds(), 0.0)
