"""Looking ahead: which messengers have work that is due, and when the next falls due. Nothing is claimed."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import Model, OuterRef, Subquery

from dsn_core.models import Delivery, DeliveryPage, Event, MessengerState
from dsn_core.models.clock import DatabaseNow, now_sql
from dsn_core.models.subscription import Priority
from dsn_core.queue import environment

#: What deliveries are claimed by: by themselves, or by their pages.
_CLAIMED: Final[tuple[type[Model], ...]] = (Delivery, DeliveryPage)


def due_messengers(using: str) -> list[str]:
    """The messengers (or accounts) with deliveries that are due, but for those that pause. Two queries.

    One that waits for its rate is among them: the caller that sends by it waits that long.
    """
    states = _states(using)
    if _unknown_messenger([state.messenger for state in states], using) is not None:
        make_missing_known(using)
        states = _states(using)
    due = [
        state.messenger
        for state in states
        if state.first is not None
        and state.first <= state.database_now
        and (state.paused_until is None or state.paused_until <= state.database_now)
    ]
    return due if due and environment.may_work(states[0].remembered, using) else []


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
    return {
        state.messenger: (state.database_now - state.first).total_seconds()
        for state in _states(using)
        if state.first is not None
        and state.first < state.database_now
        and (state.rests_until is None or state.rests_until <= state.database_now)
        and not environment.holds(state.remembered)
    }


def seconds_until_due(using: str, without: Collection[str] = ()) -> float | None:
    """Seconds until the next event or delivery is due, 0.0 when one is now, None when none is open. Two queries.

    Deliveries of the messengers ``without`` are not looked at. Counts by the database's clock. What a worker holds is
    due at the end of its lease; what waits for a messenger's pause or rate, at the end of that.
    """
    waits = [
        (max(state.first, state.rests_until or state.first) - state.database_now).total_seconds()
        for state in _states(using)
        if state.first is not None and state.messenger not in without
    ]
    if (late := seconds_since_first_event(using)) is not None:
        waits.append(-late)
    return max(min(waits), 0.0) if waits else None


def seconds_since_first_event(using: str) -> float | None:
    """Seconds since the oldest open event fell due, negative while it is not; None when none is open. One query."""
    events = Event.objects.using(using).filter(not_before__isnull=False).order_by("not_before", "id")
    first: Any = events.values_list("not_before", DatabaseNow()).first()
    return None if first is None else (first[1] - first[0]).total_seconds()


def now(using: str) -> float:
    """Seconds since 1970 by the database's clock; 0.0 while no messenger is known, when nothing waits either."""
    moment = MessengerState.objects.using(using).values_list(DatabaseNow(), flat=True).first()
    return moment.timestamp() if moment else 0.0


def _states(using: str) -> list[Any]:
    """The messengers' states, with ``database_now`` and the environment's name that is ``remembered``. One query.

    ``first``: when the first of its open deliveries is due; ``rests_until``: the end of its pause, or of the wait for
    its rate, whichever is later. Both may be None.
    """
    # Each of these is the first entry of its part of the claim index, however many rows are open.
    firsts = {}
    for number, (model, priority) in enumerate(itertools.product(_CLAIMED, Priority.values)):
        rows = model._base_manager.using(using).filter(
            messenger=OuterRef("messenger"), priority=priority, not_before__isnull=False
        )
        firsts[f"first_{number}"] = Subquery(rows.order_by("not_before", "id").values("not_before")[:1])
    remembered = environment.remembered_query(using)
    states: list[Any] = list(
        MessengerState.objects.using(using)
        .order_by("messenger")
        .annotate(database_now=DatabaseNow(), remembered=remembered, **firsts)
    )
    for state in states:
        moments = (getattr(state, name) for name in firsts)
        state.first = min((moment for moment in moments if moment is not None), default=None)
        rests = (state.paused_until, state.rate_next_at)
        state.rests_until = max((moment for moment in rests if moment is not None), default=None)
    return states
