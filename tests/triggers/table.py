"""The table of matching: verbs, action objects, actors, targets and ways of sending, in a process that reads the rows.

``python -m tests.triggers.table`` prints its size and its result. What must match is said by :func:`expected`, in the
words of the documentation and with nothing of dsn-core's own. ``python -m tests.triggers.table child`` is the fresh
process: it gets sendings on its standard input, and writes which triggers each of them recorded.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

METHODS = ("send", "send_robust", "asend", "asend_robust")
MODEL_VERBS = ("pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete")
VERBS = ("table_released", *MODEL_VERBS, "m2m_changed", "user_logged_out", "request_finished")
#: Of a model (key None) or an instance: the label, and the key as JSON has it.
Subject = tuple[str, Any]
#: Seconds after which the fresh process counts as hanging.
PATIENCE = 300


@dataclass(frozen=True)
class Rule:
    """A trigger: what it asks for. None and empty: any."""

    verb: str
    action: Subject | None = None
    actor: Subject | None = None
    target: str = ""


@dataclass(frozen=True)
class Sending:
    """A signal that is sent. For ``m2m_changed`` with the relation, the other side's model and its keys."""

    verb: str
    method: str
    action: Subject | None = None
    actor: Subject | None = None
    target: str | None = None
    relation: str = ""
    m2m_action: str = "post_add"
    other: str = ""
    keys: tuple[Any, ...] | None = None


# The rows


def make_rows() -> dict[str, list[Subject]]:
    """Instances with keys of every type, as action objects and as actors. Returns what can be spoken of."""
    from django.contrib.auth.models import Group, User

    from tests.shapes.models import Label, Truck, Vehicle
    from tests.testapp.models import Country, Movie, Place, Restaurant, Seat, Ticket

    # Keys of one text in several models, and parents whose keys differ from their children's.
    Vehicle.objects.create(name="neither")
    movies = [Movie.objects.create(pk=key, name=str(key)) for key in (1, 2, 7)]
    users = [User.objects.create(pk=key, username=f"u{key}") for key in (1, 2)]
    places = [Place.objects.create(pk=key, name=str(key)) for key in (1, 7)]
    restaurants = [Restaurant.objects.create(pk=key, name=str(key)) for key in (3, 8)]
    tickets = [Ticket.objects.create(pk=uuid.UUID(int=number), movie=movies[0]) for number in (1, 2)]
    countries = [Country.objects.create(code=code) for code in ("1", "de")]
    seats = [Seat.objects.create(row=row, number=number) for row, number in (("A", 1), ("A", 2), ("1", 1))]
    trucks = [Truck.objects.create(number=number, name=str(number)) for number in (1, 9)]
    # Whose key is the one that the second truck has as a truck.
    vehicle = Vehicle.objects.create(pk=9, name="9")
    labels = [Label.objects.create(pk=key, name=str(key)) for key in (1, 2)]
    group = Group.objects.create(pk=1, name="g")
    models = ["testapp.movie", "testapp.place", "testapp.restaurant", "testapp.famousplace", "testapp.ticket"]
    models += ["testapp.country", "testapp.seat", "shapes.vehicle", "shapes.truck", "shapes.label", "auth.user"]
    rows = [*movies, *users, *places, *restaurants, *tickets, *countries, *seats, *trucks, vehicle, *labels, group]
    instances: list[Subject] = [(row._meta.label_lower, _plain(row.pk)) for row in rows]
    instances += [("testapp.famousplace", 7), *(("testapp.place", row.pk) for row in restaurants)]
    instances += [("shapes.vehicle", truck.vehicle_id) for truck in trucks]
    return {
        "models": [(label, None) for label in models],
        "instances": instances,
        "actors": [
            ("auth.user", 1), ("auth.user", 2), ("testapp.ticket", str(uuid.UUID(int=1))), ("testapp.country", "1"),
            ("testapp.seat", ("A", 1)), ("testapp.restaurant", 3), ("shapes.truck", 9), ("testapp.famousplace", 7),
        ],
        "actor_models": [("auth.user", None), ("testapp.place", None), ("shapes.vehicle", None)],
        "parents_of_actors": [("testapp.place", 3), ("shapes.vehicle", trucks[1].vehicle_id), ("shapes.vehicle", 9)],
    }  # fmt: skip


def _plain(key: Any) -> Any:
    return key if isinstance(key, int | str | tuple) else str(key)


def find(subject: Any) -> Any:
    """The class or the row that ``subject`` speaks of."""
    from django.apps import apps

    from dsn_core import muted

    if subject is None:
        return None
    label, key = subject
    model = apps.get_model(label)
    # To read a row sends signals, too.
    with muted():
        return model if key is None else model._base_manager.get(pk=key)


# What must match


def identities(row: Any) -> list[Any]:
    """The row, and the rows of its parents, as Django itself finds them."""
    from dsn_core import muted

    found = [row]
    with muted():
        for link in type(row)._meta.concrete_model._meta.parents.values():
            if link is not None:
                found += identities(getattr(row, link.name))
    return found


def covers(wanted: Any, said: Any, *, whole_family: bool = True) -> bool:
    """Nothing means anything. A model means itself, its proxies' and its children's rows; a row means that row."""
    if wanted is None:
        return True
    if said is None:
        return False
    wanted_class, said_class = (item if isinstance(item, type) else type(item) for item in (wanted, said))
    if not issubclass(said_class, wanted_class):
        return False
    if not whole_family and wanted_class._meta.concrete_model is not said_class._meta.concrete_model:
        # Django sends the signals of a delete for the parent's row, too.
        return False
    if isinstance(wanted, type):
        return True
    return not isinstance(said, type) and any(row == wanted for row in identities(said))


class Lore:
    """What the rows are, and which of them cover which others; found out once."""

    def __init__(self) -> None:
        self._held: dict[Subject | None, Any] = {}
        self._covered: dict[tuple[int, int, bool], bool] = {}

    def __call__(self, subject: Subject | None) -> Any:
        if subject not in self._held:
            self._held[subject] = find(subject)
        return self._held[subject]

    def covers(self, wanted: Any, said: Any, *, whole_family: bool = True) -> bool:
        key = (id(wanted), id(said), whole_family)
        if key not in self._covered:
            self._covered[key] = covers(wanted, said, whole_family=whole_family)
        return self._covered[key]


def expected(rule: Rule, sending: Sending, lore: Lore) -> bool:
    """Whether a trigger of ``rule`` matches ``sending``."""
    if rule.verb not in verbs_of(sending) or rule.target not in ("", sending.target):
        return False
    if not lore.covers(lore(rule.actor), lore(sending.actor)):
        return False
    wanted = lore(rule.action)
    if sending.verb == "request_finished":
        return wanted is None
    if sending.verb in ("pre_init", "user_logged_out"):
        # These are about a class: there is no instance yet, or none that it is about.
        return lore.covers(wanted, type(lore(sending.action)))
    if sending.verb != "m2m_changed":
        whole_family = sending.verb not in ("pre_delete", "post_delete")
        return lore.covers(wanted, lore(sending.action), whole_family=whole_family)
    if not sending.m2m_action.startswith("post_"):
        return False
    if lore.covers(wanted, lore(sending.action)) or lore.covers(wanted, lore((sending.other, None))):
        return True
    # Of the other side Django says only the keys: a parent's key that is another one is not among them.
    others = [lore((sending.other, key)) for key in sending.keys or ()]
    return any(lore.covers(wanted, row) and wanted.pk == row.pk for row in others)


def verbs_of(sending: Sending) -> tuple[str, ...]:
    """What is said by it: saving an instance is two signals."""
    return ("pre_save", "post_save") if sending.verb == "pre_save" else (sending.verb,)


# The whole table


def all_rules(world: dict[str, list[Subject]]) -> list[Rule]:
    """Every verb with every action object, actor and target that it can be asked with."""
    actions = [None, *world["models"], *world["instances"]]
    actors = [None, *world["actors"], *world["actor_models"], *world["parents_of_actors"]]
    few: list[Subject | None] = [None, ("auth.user", 1), ("testapp.place", None), ("shapes.vehicle", 9)]
    rules = [Rule("table_released", *parts) for parts in itertools.product(actions, actors, ("", "home"))]
    for verb in (*MODEL_VERBS, "m2m_changed"):
        rules += [Rule(verb, *parts) for parts in itertools.product(actions[1:], few, ("", "home"))]
    rules += [Rule("user_logged_out", *parts) for parts in itertools.product(actions, few, ("",))]
    rules += [Rule("request_finished", *parts) for parts in itertools.product(actions[:3], few, ("",))]
    return rules


def all_sendings(world: dict[str, list[Subject]]) -> list[Sending]:
    """Every verb about every row, by every actor, by each way of sending."""
    found = []
    actions: list[Subject | None] = [None, *world["instances"], *world["models"][:3]]
    actors: list[Subject | None] = [None, *world["actors"]]
    turns = itertools.cycle(actors)
    for method in METHODS:
        for action, target in itertools.product(actions, (None, "home", "away")):
            found += [Sending("table_released", method, action, next(turns), target) for _ in range(2)]
        for verb, action in itertools.product(MODEL_VERBS, world["instances"]):
            found.append(Sending(verb, method, action, next(turns)))
        for relation, one, other, keys in relations():
            for action in ("pre_add", "post_add", "post_remove", "post_clear"):
                given = None if action == "post_clear" else tuple(keys)
                found.append(Sending("m2m_changed", method, one, next(turns), None, relation, action, other, given))
        found += [Sending("user_logged_out", method, actor, actor) for actor in world["actors"][:2]]
        found += [Sending("request_finished", method, None, actor) for actor in actors]
    return found


def relations() -> list[tuple[str, Subject, str, list[Any]]]:
    """Relations of both sides, own and inherited: field, instance, the other side's model and its keys."""
    return [
        ("testapp.movie.audiences", ("testapp.movie", 1), "auth.user", [1]),
        ("testapp.movie.audiences", ("auth.user", 2), "testapp.movie", [1, 2]),
        ("auth.user.groups", ("auth.user", 1), "auth.group", [1]),
        ("shapes.vehicle.labels", ("shapes.truck", 9), "shapes.label", [1]),
        ("shapes.vehicle.labels", ("shapes.label", 1), "shapes.vehicle", [1]),
        ("shapes.truck.cargo", ("shapes.truck", 1), "shapes.label", [1, 2]),
        ("shapes.truck.cargo", ("shapes.label", 2), "shapes.truck", [1, 9]),
    ]


def save_rules(rules: Sequence[Rule]) -> dict[int, Rule]:
    """The triggers of ``rules`` as rows, each with a subscription, by their keys."""
    from dsn_core.models import Subscription, Trigger
    from dsn_core.references import split

    made = []
    for rule in rules:
        trigger = Trigger(verb=rule.verb, target=rule.target)
        trigger.action_object_model, trigger.action_object_pk = split(find(rule.action))
        trigger.actor_object_model, trigger.actor_object_pk = split(find(rule.actor))
        made.append(trigger)
    Trigger.objects.bulk_create(made)
    keys = dict(Trigger.objects.values_list("digest", "pk"))
    Subscription.objects.bulk_create([Subscription(trigger_id=key) for key in keys.values()])
    return {keys[trigger.digest]: rule for trigger, rule in zip(made, rules, strict=True)}


def ask_a_fresh_process(sendings: Sequence[Sending], environment: dict[str, str]) -> list[list[int]]:
    """The keys of the triggers that each of ``sendings`` recorded there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.triggers.table", "child"],
        input=json.dumps([asdict(sending) for sending in sendings]),
        env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stderr)
    answer: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def differences(rules: dict[int, Rule], sendings: Sequence[Sending], answers: Sequence[list[int]]) -> list[str]:
    """Where the fresh process and :func:`expected` are not of one mind."""
    lore, found = Lore(), []
    by_verb = {verb: [key for key, rule in rules.items() if rule.verb == verb] for verb in VERBS}
    for sending, recorded in zip(sendings, answers, strict=True):
        asked = [key for verb in verbs_of(sending) for key in by_verb[verb]]
        wanted = sorted(key for key in asked if expected(rules[key], sending, lore))
        if sorted(recorded) != wanted:
            extra, lost = (Counter(recorded) - Counter(wanted)), (Counter(wanted) - Counter(recorded))
            found += [f"{sending}: {rules[key]} matched" for key in extra]
            found += [f"{sending}: {rules[key]} did not match" for key in lost]
    return found


# The fresh process


def child() -> None:
    """Send what standard input says, and write what was recorded."""
    import django
    from django.conf import settings

    settings.DSN = {"RUNNER": "worker", "STRICT": True}
    django.setup()
    from django.db.models import Max

    from dsn_core.models import Event

    registered()
    lore, answers, last = Lore(), [], 0
    for given in json.loads(sys.stdin.read()):
        work = _prepared(_hashable(given), lore)
        last = Event.objects.aggregate(last=Max("id"))["last"] or last
        work()
        answers.append(list(Event.objects.filter(id__gt=last).values_list("trigger_id", flat=True)))
    print(json.dumps(answers))


def _hashable(given: dict[str, Any]) -> Sending:
    """The sending that JSON made lists of."""
    for part in ("action", "actor"):
        if given[part] is not None:
            label, key = given[part]
            given[part] = (label, tuple(key) if isinstance(key, list) else key)
    return Sending(**given)


def registered() -> Any:
    """The verb of a project's own signal, and the signal."""
    from django.dispatch import Signal

    from dsn_core import register_signal
    from dsn_core.plugins.catalogue import catalogue

    held = catalogue.find("table_released")
    signal = Signal() if held is None else held.signal
    register_signal("table_released", signal, actor_object="who", target="where")
    return signal


def _prepared(sending: Sending, lore: Lore) -> Any:
    """What is to be called for ``sending``; all rows that it needs are read already."""
    from asgiref.sync import async_to_sync
    from django.contrib.auth.signals import user_logged_out
    from django.core.signals import request_finished
    from django.db.models import signals

    from dsn_core import acting

    row, actor = lore(sending.action), lore(sending.actor)
    sender = row if isinstance(row, type) else type(row)
    given: list[tuple[Any, Any, dict[str, Any]]]
    saved = {"instance": row, "raw": False, "using": "default", "update_fields": None}
    match sending.verb:
        case "table_released":
            named = {} if row is None or isinstance(row, type) else {"instance": row}
            parts = {"who": actor, "where": sending.target}
            given = [(registered(), sender if row is not None else None, {**named, **parts})]
        case "pre_init":
            given = [(signals.pre_init, sender, {"args": (), "kwargs": {}})]
        case "post_init":
            given = [(signals.post_init, sender, {"instance": row})]
        case "pre_save":
            # Recorded when the row is saved.
            given = [(signals.pre_save, sender, saved), (signals.post_save, sender, {**saved, "created": False})]
        case "post_save":
            given = [(signals.post_save, sender, {**saved, "created": False})]
        case "m2m_changed":
            label, _, name = sending.relation.rpartition(".")
            through = getattr(find((label, None)), name).through
            keys = None if sending.keys is None else set(sending.keys)
            others = {"model": find((sending.other, None)), "pk_set": keys, "action": sending.m2m_action}
            given = [(signals.m2m_changed, through, {"instance": row, "reverse": False, "using": "default", **others})]
        case "user_logged_out":
            given = [(user_logged_out, sender, {"request": None, "user": actor})]
        case "request_finished":
            given = [(request_finished, object, {})]
        case _:
            given = [(getattr(signals, sending.verb), sender, {"instance": row, "using": "default", "origin": row})]

    def work() -> None:
        # Signals of models do not say who acts.
        with acting(actor):
            for signal, who, arguments in given:
                fire = getattr(signal, sending.method)
                (async_to_sync(fire) if sending.method.startswith("a") else fire)(sender=who, **arguments)

    return work


# The program


def run(environment: dict[str, str]) -> tuple[list[str], list[str]]:
    """Make the rows, ask a fresh process about the whole table; return its lines and the differences."""
    world = make_rows()
    registered()
    rules = save_rules(all_rules(world))
    sendings = all_sendings(world)
    started = time.monotonic()
    answers = ask_a_fresh_process(sendings, environment)
    took = time.monotonic() - started
    return list(report(rules, sendings, answers, took)), differences(rules, sendings, answers)


def report(
    rules: dict[int, Rule], sendings: Sequence[Sending], answers: Sequence[Sequence[int]], took: float
) -> Iterator[str]:
    """The table's size."""
    yield f"{'verb':<18}{'triggers':>10}{'sendings':>10}{'cells':>12}{'matches':>10}"
    total = [0, 0, 0, 0]
    for verb in VERBS:
        triggers = sum(rule.verb == verb for rule in rules.values())
        pairs = zip(sendings, answers, strict=True)
        chosen = [
            sum(rules[key].verb == verb for key in answer) for sending, answer in pairs if verb in verbs_of(sending)
        ]
        numbers = [triggers, len(chosen), triggers * len(chosen), sum(chosen)]
        total = [sum(pair) for pair in zip(total, numbers, strict=True)]
        yield f"{verb:<18}{numbers[0]:>10,}{numbers[1]:>10,}{numbers[2]:>12,}{numbers[3]:>10,}"
    yield f"{'all':<18}{total[0]:>10,}{total[1]:>10,}{total[2]:>12,}{total[3]:>10,}"
    yield f"by {', '.join(METHODS)}; a fresh process took {took:.0f} s"


def main() -> int:
    """The whole table on a test database of the settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings

    django.setup()
    from django.db import connection
    from django.test.runner import DiscoverRunner

    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        name = str(connection.settings_dict["NAME"])
        place = os.pathsep.join([os.fspath(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])])
        lines, wrong = run(os.environ | {"DSN_TEST_DATABASE_NAME": name, "PYTHONPATH": place})
    finally:
        runner.teardown_databases(databases)
    print(f"The table of matching on {connection.vendor}, Django {django.get_version()}")
    print("\n".join([*lines, *wrong[:50], f"{len(wrong)} cells are wrong" if wrong else "every cell is right"]))
    return int(bool(wrong))


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        child()
    else:
        raise SystemExit(main())
