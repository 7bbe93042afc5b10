"""The rules of one topic, in dictionaries: what a signal could match is looked up, not searched."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError
from django.db.models import Model

from dsn_core.contracts.conditions import Condition
from dsn_core.models.references import pk_text
from dsn_core.models.subjects import Roots
from dsn_core.plugins.catalogue import catalogue
from dsn_core.plugins.loading import describe
from dsn_core.triggers.conditions import UNKNOWN, PathMissing, Test, missing
from dsn_core.triggers.kinship import counts_as, shares_key
from dsn_core.triggers.occasions import Occasion

logger = logging.getLogger("dsn_core.triggers")

Paths: TypeAlias = tuple[str, ...]
#: The action object's key, the actor's model and key, the target, and, for conditions that ask whether a
#: path equals a value, the paths and the values. Empty or None: any.
Key: TypeAlias = tuple[str, type[Model] | None, str, str, Paths, tuple[Any, ...]]


@dataclass(frozen=True)
class Entry:
    """A trigger as matching sees it: models as classes, keys as texts, empty for any."""

    trigger_id: int
    label: str
    verb: str
    action_model: type[Model] | None = None
    action_pk: str = ""
    actor_model: type[Model] | None = None
    actor_pk: str = ""
    target: str = ""
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, eq=False)
class Rule:
    """An entry, ready to be matched: ``looked_up`` is answered by the table, ``tests`` are left to be asked."""

    entry: Entry
    key: Key
    looked_up: tuple[Test, ...] = ()
    tests: tuple[Test, ...] = ()

    @classmethod
    def of(cls, entry: Entry) -> Rule | None:
        """The rule of ``entry``; None where its conditions cannot work (any more)."""
        parts = (entry.action_pk, entry.actor_model, entry.actor_pk, entry.target)
        registration = catalogue.find(entry.verb)
        if not entry.conditions or registration is None:
            return cls(entry, (*parts, (), ()))
        roots = Roots(registration, entry.action_model, entry.actor_model)
        try:
            tests = [Test(condition, roots) for condition in entry.conditions]
        except Exception as error:
            reason = " ".join(error.messages) if isinstance(error, ValidationError) else describe(error)
            logger.error("Trigger %s matches nothing: its conditions cannot be used: %s", entry.label, reason)
            return None
        # What kind of object the actor is, each trigger says for itself: no table can hold them all.
        actor = {"actor_object", registration.actor_argument}
        keys = {test.path: test for test in tests if test.root not in actor and test.key() is not None}
        looked_up = tuple(keys[path] for path in sorted(keys))
        return cls(
            entry,
            (*parts, tuple(sorted(keys)), tuple(test.key() for test in looked_up)),
            looked_up,
            tuple(test for test in tests if test not in looked_up),
        )

    @property
    def paths(self) -> Paths:
        return self.key[4]

    def asks(self) -> Iterator[tuple[str, Any]]:
        """What has to be found out of a signal for this rule's sake."""
        if self.entry.actor_model is not None:
            yield "actor", True
        if self.entry.target:
            yield "target", True
        yield "paths", self.paths
        for test in (*self.looked_up, *self.tests):
            yield "root", test.root
            if test.compares:
                yield "compared", test.column

    def is_about(self, argument: str) -> bool:
        """Whether one of its conditions asks for ``argument``."""
        return any(test.root == argument for test in (*self.looked_up, *self.tests))

    def holds(self, occasion: Occasion, tests: Sequence[Test]) -> bool:
        """Whether all of ``tests`` hold. A path that leads nowhere is counted, and does not hold."""
        try:
            return all(test.holds(occasion) for test in tests)
        except PathMissing as error:
            missing(error, occasion.registration.name, lambda: [self.entry.label])
            return False


@dataclass
class Table:
    """The rules of one topic. Not changed any more once it is in an index that others read."""

    rules: dict[Key, tuple[Rule, ...]] = field(default_factory=dict)
    #: How many rules ask for what: for what nobody asks, nobody looks.
    asked: Counter[tuple[str, Any]] = field(default_factory=Counter)
    #: The tests that rules are looked up by, by their paths.
    looked_up: dict[Paths, tuple[Test, ...]] = field(default_factory=dict)

    def copy(self) -> Table:
        """Another table of the same rules, to be changed."""
        return Table(dict(self.rules), Counter(self.asked), dict(self.looked_up))

    def add(self, rule: Rule) -> None:
        self.rules[rule.key] = (*self.rules.get(rule.key, ()), rule)
        self.asked.update(rule.asks())
        self.looked_up[rule.paths] = rule.looked_up

    def remove(self, rule: Rule) -> None:
        left = tuple(other for other in self.rules.pop(rule.key) if other is not rule)
        if left:
            self.rules[rule.key] = left
        self.asked.subtract(rule.asks())
        if self.asked["paths", rule.paths] <= 0:
            del self.looked_up[rule.paths]

    def compared(self) -> frozenset[str]:
        """The columns that have to be read before the change."""
        return frozenset(name for (what, name), number in self.asked.items() if what == "compared" and number > 0)

    def find(self, pk: str, occasion: Occasion) -> list[Rule]:
        """The rules that ``occasion`` matches; ``pk`` is the text of the action object's key, empty if it has none."""
        pks = ("", pk) if pk else ("",)
        actors = self._actors(occasion) if self.asked["actor", True] else _ANYBODY
        targets = ("", occasion.target) if self.asked["target", True] and occasion.target else ("",)
        found: list[Rule] = []
        for paths, tests in self.looked_up.items():
            values: tuple[Any, ...] = ()
            if tests:
                try:
                    values = tuple([test.key_of(occasion) for test in tests])
                except PathMissing as error:
                    missing(error, occasion.registration.name, functools.partial(self._labels, paths))
                    continue
            if UNKNOWN in values:
                found += self._compare(paths, pks, actors, targets, occasion)
                continue
            for key in pks:
                for actor_model, actor_pk in actors:
                    for text in targets:
                        for rule in self.rules.get((key, actor_model, actor_pk, text, paths, values), ()):
                            if not rule.tests or rule.holds(occasion, rule.tests):
                                found.append(rule)
        return found

    def _labels(self, paths: Paths) -> list[str]:
        return [rule.entry.label for rules in self.rules.values() for rule in rules if rule.paths == paths]

    def _compare(
        self, paths: Paths, pks: Sequence[str], actors: Sequence[Any], targets: Sequence[str], occasion: Occasion
    ) -> Iterator[Rule]:
        """The same for values of types that a dictionary would not find: every rule is asked."""
        for key, rules in self.rules.items():
            if key[4] == paths and key[0] in pks and key[1:3] in actors and key[3] in targets:
                for rule in rules:
                    if rule.holds(occasion, (*rule.looked_up, *rule.tests)):
                        yield rule

    @staticmethod
    def _actors(occasion: Occasion) -> list[tuple[type[Model] | None, str]]:
        found: list[tuple[type[Model] | None, str]] = [(None, "")]
        actor = occasion.actor_object
        if isinstance(actor, Model):
            pk = pk_text(actor)
            for model in counts_as(actor.__class__, True):
                key = pk if shares_key(actor.__class__, model) else pk_text(actor, model)
                found += [(model, ""), (model, key)] if key else [(model, "")]
        elif isinstance(actor, type) and issubclass(actor, Model):
            found += [(model, "") for model in counts_as(actor, True)]
        return found


_ANYBODY: list[tuple[type[Model] | None, str]] = [(None, "")]
