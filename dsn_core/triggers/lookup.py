"""The rules of one verb and model, in dictionaries: what a signal could match is looked up, not searched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Model

from dsn_core.conditions.evaluation import UNKNOWN, PathMissing, Test
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.references import pk_text
from dsn_core.triggers.model_inheritance import counts_as, shares_key
from dsn_core.triggers.rules import Key, Paths, Rule, note_missing


@dataclass
class Lookup:
    """The rules of one topic. Not changed any more once it is in an index that other threads read."""

    rules: dict[Key, tuple[Rule, ...]] = field(default_factory=dict)
    #: How many rules need what: what no rule needs is not found out.
    needed: Counter[tuple[str, Any]] = field(default_factory=Counter)
    #: The tests that rules are looked up by, by their paths.
    looked_up: dict[Paths, tuple[Test, ...]] = field(default_factory=dict)

    def copy(self) -> Lookup:
        """Another one with the same rules, to be changed."""
        return Lookup(dict(self.rules), Counter(self.needed), dict(self.looked_up))

    def add(self, key: Key, rule: Rule) -> None:
        """Add ``rule`` under its key."""
        self.rules[key] = (*self.rules.get(key, ()), rule)
        self.needed.update(rule.needs())
        self.looked_up[rule.paths] = rule.looked_up

    def remove(self, key: Key, rule: Rule) -> None:
        """Remove ``rule``, which is there under its key."""
        left = tuple(other for other in self.rules.pop(key) if other is not rule)
        if left:
            self.rules[key] = left
        self.needed.subtract(rule.needs())
        if self.needed["paths", rule.paths] <= 0:
            del self.looked_up[rule.paths]

    def compared(self) -> frozenset[str]:
        """The columns that have to be read before the change."""
        return frozenset(name for (what, name), number in self.needed.items() if what == "compared" and number > 0)

    def find(self, pk: str, call: SignalCall) -> Iterator[Rule]:
        """The rules that ``call`` matches; ``pk`` is the text of the action object's key, empty if it has none."""
        pks = ("", pk) if pk else ("",)
        actors = _actors(call) if self.needed["actor", True] else _ANY_ACTOR
        targets = ("", call.target) if self.needed["target", True] and call.target else ("",)
        for paths, tests in self.looked_up.items():
            values: tuple[Any, ...] = ()
            if tests:
                try:
                    values = tuple([test.key_of(call) for test in tests])
                except PathMissing as error:
                    note_missing(error, call.verb, self._labels(paths))
                    continue
            if UNKNOWN in values:
                yield from self._compare(paths, pks, actors, targets, call)
                continue
            for key in pks:
                for actor_model, actor_pk in actors:
                    for text in targets:
                        for rule in self.rules.get((key, actor_model, actor_pk, text, paths, values), ()):
                            if not rule.tests or rule.holds(call, rule.tests):
                                yield rule

    def _labels(self, paths: Paths) -> list[str]:
        return [rule.label for rules in self.rules.values() for rule in rules if rule.paths == paths]

    def _compare(
        self, paths: Paths, pks: Sequence[str], actors: Sequence[Any], targets: Sequence[str], call: SignalCall
    ) -> Iterator[Rule]:
        """The same for values of types that a dictionary would not find: every rule is asked."""
        for key, rules in self.rules.items():
            if key[4] == paths and key[0] in pks and key[1:3] in actors and key[3] in targets:
                for rule in rules:
                    if rule.holds(call, (*rule.looked_up, *rule.tests)):
                        yield rule


_ANY_ACTOR: Final[list[tuple[type[Model] | None, str]]] = [(None, "")]


def _actors(call: SignalCall) -> list[tuple[type[Model] | None, str]]:
    """The models and keys of actors that a trigger for the actor of ``call`` may name."""
    found = list(_ANY_ACTOR)
    actor = call.actor_object
    if isinstance(actor, Model):
        pk = pk_text(actor)
        for model in counts_as(actor.__class__, True):
            key = pk if shares_key(actor.__class__, model) else pk_text(actor, model)
            found += [(model, ""), (model, key)] if key else [(model, "")]
    elif isinstance(actor, type) and issubclass(actor, Model):
        found += [(model, "") for model in counts_as(actor, True)]
    return found
