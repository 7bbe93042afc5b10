"""Rules: triggers as matching sees them, prepared once, when they are read."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Exists, Model, OuterRef

from dsn_core.conditions.evaluation import PathMissing, Test
from dsn_core.conditions.operators import Condition
from dsn_core.conditions.path_types import Roots
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.exceptions import ConfigurationError
from dsn_core.intake.trouble import errors, named
from dsn_core.models import Subscription, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.errors import describe
from dsn_core.references import find_model

logger = logging.getLogger("dsn_core.triggers")

Paths: TypeAlias = tuple[str, ...]
#: The action object's key, the actor's model and key, the target, and, for conditions that ask whether a
#: path equals a value, the paths and the values. Empty or None: any.
Key: TypeAlias = tuple[str, type[Model] | None, str, str, Paths, tuple[Any, ...]]


class Sign(NamedTuple):
    """A necessary condition that is cheap to test: a value of this type in this column of the instance.

    By it most signals are seen to match nothing, in the code that saves. In doubt a signal could match.
    """

    column: str
    kind: type
    value: Any


#: That the signal has a target.
TARGET_SIGN: Final = Sign("", str, "")


@dataclass(frozen=True, eq=False)
class Rule:
    """One trigger: models as classes, keys as texts, empty for any.

    ``key`` is what it is looked up by, with the tests ``looked_up``; ``tests`` are asked one by one. ``key`` is None
    where its conditions cannot be used: it matches nothing. ``sign`` is None where nothing can be seen beforehand.
    """

    trigger_id: int
    label: str
    verb: str
    action_model: type[Model] | None = None
    action_pk: str = ""
    actor_model: type[Model] | None = None
    actor_pk: str = ""
    target: str = ""
    conditions: tuple[Condition, ...] = ()
    key: Key | None = None
    looked_up: tuple[Test, ...] = ()
    tests: tuple[Test, ...] = ()
    sign: Sign | None = None

    @property
    def paths(self) -> Paths:
        return tuple(test.path for test in self.looked_up)

    def needs(self) -> Iterator[tuple[str, Any]]:
        """What has to be found out of a signal for this rule."""
        if self.actor_model is not None:
            yield "actor", True
        if self.target:
            yield "target", True
        yield "paths", self.paths
        for test in (*self.looked_up, *self.tests):
            if test.compares:
                yield "compared", test.column

    def is_about(self, argument: str) -> bool:
        """Whether one of its conditions begins at ``argument``."""
        return any(test.root == argument for test in (*self.looked_up, *self.tests))

    def holds(self, call: SignalCall, tests: Sequence[Test]) -> bool:
        """Whether all of ``tests`` hold. A path that leads nowhere is counted, and does not hold."""
        try:
            return all(test.holds(call) for test in tests)
        except PathMissing as error:
            note_missing(error, call.verb, [self.label])
            return False


def prepared(rule: Rule) -> Rule:
    """``rule`` with its key, its tests and its sign, as models and registrations are now."""
    registration = catalogue.find(rule.verb)
    tests: list[Test] = []
    by_path: dict[str, Test] = {}
    if rule.conditions and registration is not None:
        roots = Roots(registration, rule.action_model, rule.actor_model)
        try:
            tests = [Test(condition, roots) for condition in rule.conditions]
        except Exception as error:
            reason = " ".join(error.messages) if isinstance(error, ValidationError) else describe(error)
            logger.error("Trigger %s matches nothing: its conditions cannot be used: %s", rule.label, reason)
            return replace(rule, key=None, looked_up=(), tests=(), sign=None)
        # What kind of object the actor is, each trigger says for itself: no table can hold them all.
        actor = {"actor_object", registration.actor_argument}
        by_path = {test.path: test for test in tests if test.root not in actor and test.key() is not None}
    paths = tuple(sorted(by_path))
    looked_up = tuple(by_path[path] for path in paths)
    parts = (rule.action_pk, rule.actor_model, rule.actor_pk, rule.target)
    return replace(
        rule,
        key=(*parts, paths, tuple(test.key() for test in looked_up)),
        looked_up=looked_up,
        tests=tuple(test for test in tests if test not in looked_up),
        sign=_sign_of(rule, looked_up),
    )


def _sign_of(rule: Rule, looked_up: Sequence[Test]) -> Sign | None:
    if rule.action_pk and rule.action_model is not None:
        return _in_column(rule.action_model._meta.pk, rule.action_pk)
    if rule.target:
        return TARGET_SIGN
    test = next((test for test in looked_up if test.column_of_instance), None)
    return None if test is None else _in_column(test.column_of_instance, test.key())


#: Kinds of fields, with the type of values that they keep as they are, so that conditions compare the instance's value.
_KEPT: Final = (
    (models.BooleanField, bool),
    (models.IntegerField, int),
    (models.CharField, str),
    (models.TextField, str),
    (models.UUIDField, uuid.UUID),
)


def _in_column(field: Any, wanted: Any) -> Sign | None:
    try:
        value = field.to_python(wanted)
    except Exception:
        # A project's own field may raise anything.
        return None
    column = field.attname
    while getattr(field, "remote_field", None) is not None:
        # A foreign key has the type of the field that it refers to.
        field = field.target_field
    converts = getattr(type(field), "to_python", None)
    is_kept = any(kind.to_python is converts and type(value) is type_ for kind, type_ in _KEPT)
    return Sign(column, type(value), value) if is_kept else None


def read(using: str, trigger_ids: Collection[int] | None = None) -> dict[int, Rule]:
    """The enabled triggers with an enabled subscription (those of ``trigger_ids``, or all), by one query."""
    subscribed = Subscription.objects.using(using).filter(trigger=OuterRef("pk"), enabled=True)
    triggers = Trigger.objects.using(using).filter(Exists(subscribed), enabled=True).order_by()
    if trigger_ids is not None:
        triggers = triggers.filter(pk__in=trigger_ids)
    rules = (_rule_of(trigger) for trigger in triggers)
    return {rule.trigger_id: rule for rule in rules if rule is not None}


def _rule_of(trigger: Trigger) -> Rule | None:
    try:
        conditions = tuple(Condition.of(row) for row in trigger.conditions)
    except (ConfigurationError, TypeError) as error:
        # What the checks did not catch must not take all other triggers along.
        logger.error("Trigger %s matches nothing: its conditions cannot be read: %s", trigger.pk, error)
        return None
    action_model, actor_model = find_model(trigger.action_object_model), find_model(trigger.actor_object_model)
    if (trigger.action_object_model and action_model is None) or (trigger.actor_object_model and actor_model is None):
        # Its app is gone for now: it can match nothing, and must not match everything.
        return None
    return prepared(
        Rule(
            trigger_id=trigger.pk,
            label=str(trigger),
            verb=trigger.verb,
            action_model=action_model,
            action_pk=trigger.action_object_pk,
            actor_model=actor_model,
            actor_pk=trigger.actor_object_pk,
            target=trigger.target,
            conditions=conditions,
        )
    )


#: Which paths of which verbs were said to lead nowhere.
_said: set[tuple[str, str]] = set()
MAX_SAID = 1_000


def note_missing(error: PathMissing, verb: str, labels: Sequence[str]) -> None:
    """Count a path that led nowhere, and say it once: a signal that comes often must not fill the log."""
    errors["path"] += 1
    if (verb, error.path) in _said or len(_said) >= MAX_SAID:
        return
    _said.add((verb, error.path))
    logger.warning(
        "Signal %s: the path %r leads nowhere (%s), so that these triggers do not match: %s. "
        "Mend the condition, or have the signal provide it. This is said once in this process.",
        verb,
        error.path,
        error.reason,
        named(labels),
    )
