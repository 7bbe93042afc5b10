"""The matcher: which triggers a signal matches, looked up in dictionaries, however many triggers there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from django.db.models import Model

from dsn_core.conditions.evaluation import UNKNOWN, PathMissing, Test
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.plugins.catalogue import catalogue
from dsn_core.references import pk_text
from dsn_core.triggers.model_inheritance import counts_as, senders, shares_key
from dsn_core.triggers.rules import TARGET_SIGN, Key, Paths, Rule, note_missing, prepared

#: A verb, and the action object's model (None: any).
Topic: TypeAlias = tuple[str, type[Model] | None]

_ABSENT: Final = object()


class Source(NamedTuple):
    """What has to be connected: a verb's signal from one sender (None: all), with the columns to read beforehand."""

    verb: str
    sender: type[Model] | None
    compared: frozenset[str]


@dataclass
class Lookup:
    """The rules of one topic. Not changed any more once it is in a matcher that other threads read."""

    rules: dict[Key, tuple[Rule, ...]] = field(default_factory=dict)
    #: How many rules need what: what no rule needs is not found out.
    needed: Counter[tuple[str, Any]] = field(default_factory=Counter)
    #: The tests that rules are looked up by, by their paths.
    looked_up: dict[Paths, tuple[Test, ...]] = field(default_factory=dict)
    # The signs of the rules, one of which an instance must show for a match: how many rules have none, how many the
    # target, and by column the type of its values, and of how many rules each value is the sign.
    unsigned: int = 0
    targets: int = 0
    columns: dict[str, tuple[type, Counter[Any]]] = field(default_factory=dict)

    def copy(self) -> Lookup:
        """Another one with the same rules, to be changed."""
        columns = {column: (kind, wanted.copy()) for column, (kind, wanted) in self.columns.items()}
        rest = (self.unsigned, self.targets, columns)
        return Lookup(self.rules.copy(), self.needed.copy(), self.looked_up.copy(), *rest)

    def add(self, key: Key, rule: Rule) -> None:
        self.rules[key] = (*self.rules.get(key, ()), rule)
        self.looked_up[rule.paths] = rule.looked_up
        self._count(rule, 1)

    def remove(self, key: Key, rule: Rule) -> None:
        """Remove ``rule``, which is there under its key."""
        left = tuple(other for other in self.rules.pop(key) if other is not rule)
        if left:
            self.rules[key] = left
        self._count(rule, -1)
        if self.needed["paths", rule.paths] <= 0:
            del self.looked_up[rule.paths]

    def _count(self, rule: Rule, number: int) -> None:
        for need in rule.needs():
            self.needed[need] += number
        sign = rule.sign
        if sign is None:
            self.unsigned += number
        elif sign is TARGET_SIGN:
            self.targets += number
        else:
            _, wanted = self.columns.setdefault(sign.column, (sign.kind, Counter()))
            wanted[sign.value] += number
            if not wanted[sign.value]:
                del wanted[sign.value]
            if not wanted:
                del self.columns[sign.column]

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
                    labels = [rule.label for rules in self.rules.values() for rule in rules if rule.paths == paths]
                    note_missing(error, call.verb, labels)
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


class Matcher:
    """Rules, and by topic the dictionaries in which signals are looked up. Not changed once other threads read it."""

    def __init__(self, rules: Mapping[int, Rule]) -> None:
        self._rules: dict[int, Rule] = {}
        self._lookups: dict[Topic, Lookup] = {}
        #: Those of all models that an instance of a class counts as, by verb and class.
        self._by_class: dict[tuple[str, type], tuple[tuple[type[Model], Lookup], ...]] = {}
        self._change((), rules.values())

    def with_rules(self, trigger_ids: Collection[int], rules: Mapping[int, Rule]) -> Matcher:
        """Another matcher, in which ``rules`` are what there is of ``trigger_ids``."""
        other = Matcher({})
        other._rules, other._lookups = self._rules.copy(), self._lookups.copy()
        gone = [self._rules[trigger_id] for trigger_id in trigger_ids if trigger_id in self._rules]
        other._change(gone, [rules[trigger_id] for trigger_id in trigger_ids if trigger_id in rules])
        return other

    def prepared(self) -> Matcher:
        """The same rules, prepared again, because signals were registered or forgotten."""
        return Matcher({trigger_id: prepared(rule) for trigger_id, rule in self._rules.items()})

    def _change(self, gone: Iterable[Rule], added: Iterable[Rule]) -> None:
        #: The lookups that no other matcher has.
        own: dict[Topic, Lookup] = {}

        def lookup(topic: Topic) -> Lookup:
            if topic not in own:
                own[topic] = self._lookups[topic].copy() if topic in self._lookups else Lookup()
            return own[topic]

        for rule in gone:
            del self._rules[rule.trigger_id]
            if rule.key is not None:
                lookup((rule.verb, rule.action_model)).remove(rule.key, rule)
        for rule in added:
            self._rules[rule.trigger_id] = rule
            if rule.key is not None:
                lookup((rule.verb, rule.action_model)).add(rule.key, rule)
        self._lookups.update(own)
        for topic, changed in own.items():
            if not changed.rules:
                del self._lookups[topic]

    def __len__(self) -> int:
        return len(self._rules)

    def sources(self) -> Iterator[Source]:
        """What must be connected for these rules."""
        for (verb, model), lookup in self._lookups.items():
            registration = catalogue.find(verb)
            if registration is None:
                continue
            if not registration.needs_model:
                yield Source(verb, None, lookup.compared())
            elif model is not None:
                compared = lookup.compared()
                for sender in senders(registration, model):
                    yield Source(verb, sender, compared)

    def could_match(self, registration: SignalRegistration, instance: Model, kwargs: Mapping[str, Any]) -> bool:
        """Whether a signal about ``instance`` could match anything. Cheap; False is certain, True is not."""
        try:
            has_target, held = kwargs.get(registration.target_argument) is not None, instance.__dict__
            for _, lookup in self._lookups_of(registration, instance.__class__):
                if lookup.unsigned or (lookup.targets and has_target):
                    return True
                for column, (kind, wanted) in lookup.columns.items():
                    value = held.get(column, _ABSENT)
                    if type(value) is not kind or value in wanted:
                        return True
        except Exception:
            # Exact matching meets the same error, and reports it.
            return True
        return False

    def match(self, call: SignalCall) -> list[Rule]:
        """The rules that a call of a signal matches, each once."""
        registration, kwargs = call.registration, call.signal_kwargs
        found: dict[int, Rule] = {}
        if not registration.needs_model and (anything := self._lookups.get((call.verb, None))) is not None:
            found.update((rule.trigger_id, rule) for rule in anything.find("", call))
        for cls, pk, instance in call.models():
            for model, lookup in self._lookups_of(registration, cls):
                key = pk
                if pk and not shares_key(cls, model):
                    # Of a relation's other side only its own key is known.
                    key = "" if instance is None else pk_text(instance, model)
                found.update((rule.trigger_id, rule) for rule in lookup.find(key, call))
        if found and registration.only:
            # Values that count only for triggers with a condition on their argument.
            only = registration.only.items()
            unusual = [name for name, values in only if name in kwargs and kwargs[name] not in values]
            return [rule for rule in found.values() if all(rule.is_about(name) for name in unusual)]
        return list(found.values())

    def _lookups_of(self, registration: SignalRegistration, cls: type) -> tuple[tuple[type[Model], Lookup], ...]:
        verb = registration.name
        found = self._by_class.get((verb, cls))
        if found is None:
            models = counts_as(cls, registration.inherits) if issubclass(cls, Model) else ()
            found = tuple((model, self._lookups[verb, model]) for model in models if (verb, model) in self._lookups)
            self._by_class[verb, cls] = found
        return found
