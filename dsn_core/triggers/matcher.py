"""The matcher: which triggers a signal matches, from dictionaries, however many there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from django.db.models import Model

from dsn_core.conditions.signal_call import SignalCall
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.plugins.catalogue import catalogue
from dsn_core.references import pk_text
from dsn_core.triggers.lookup import Lookup
from dsn_core.triggers.model_inheritance import counts_as, senders, shares_key
from dsn_core.triggers.prefilter import Prefilter
from dsn_core.triggers.rules import Rule, prepared

#: A verb, and the action object's model (None: any).
Topic: TypeAlias = tuple[str, type[Model] | None]


class Source(NamedTuple):
    """What has to be connected: a verb's signal from one sender (None: all), with the columns to read beforehand."""

    verb: str
    sender: type[Model] | None
    compared: frozenset[str]


class Matcher:
    """Rules, and by topic the dictionaries in which signals are looked up. Not changed once other threads read it."""

    def __init__(self, rules: Mapping[int, Rule]) -> None:
        self._rules: dict[int, Rule] = {}
        self._lookups: dict[Topic, Lookup] = {}
        #: Those of all models that an instance of a class counts as, by verb and class.
        self._by_class: dict[tuple[str, type], tuple[tuple[type[Model], Lookup], ...]] = {}
        self._prefilters: dict[tuple[str, type], Prefilter] = {}
        own: set[Topic] = set()
        for rule in rules.values():
            self._add(rule, own)

    def with_rules(self, trigger_ids: Collection[int], rules: Mapping[int, Rule]) -> Matcher:
        """Another matcher, in which ``rules`` are what there is of ``trigger_ids``."""
        other = Matcher({})
        other._rules, other._lookups = dict(self._rules), dict(self._lookups)
        own: set[Topic] = set()
        gone = [rule for trigger_id in trigger_ids if (rule := self._rules.get(trigger_id)) is not None]
        for trigger_id in trigger_ids:
            other._remove(trigger_id, own)
            if (rule := rules.get(trigger_id)) is not None:
                other._add(rule, own)
        # Else the code that saves next would have to make them again, from all rules about its model.
        other._prefilters = self._prefilters.copy()
        added = [other._rules[trigger_id] for trigger_id in trigger_ids if trigger_id in other._rules]
        for (verb, cls), prefilter in other._prefilters.items():
            less, more = _about(gone, verb, cls), _about(added, verb, cls)
            if less or more:
                other._prefilters[verb, cls] = prefilter.changed(less, more)
        return other

    def prepared(self) -> Matcher:
        """The same rules, prepared again, because signals were registered or forgotten."""
        return Matcher({trigger_id: prepared(rule) for trigger_id, rule in self._rules.items()})

    def _lookup(self, rule: Rule, own: set[Topic]) -> Lookup:
        """The dictionaries of the rule's topic, to be changed: copied unless they are our ``own`` already."""
        topic = (rule.verb, rule.action_model)
        if topic not in own:
            own.add(topic)
            self._lookups[topic] = self._lookups[topic].copy() if topic in self._lookups else Lookup()
        return self._lookups[topic]

    def _add(self, rule: Rule, own: set[Topic]) -> None:
        self._rules[rule.trigger_id] = rule
        if rule.key is not None:
            self._lookup(rule, own).add(rule.key, rule)

    def _remove(self, trigger_id: int, own: set[Topic]) -> None:
        rule = self._rules.pop(trigger_id, None)
        if rule is None or rule.key is None:
            return
        lookup = self._lookup(rule, own)
        lookup.remove(rule.key, rule)
        if not lookup.rules:
            topic = (rule.verb, rule.action_model)
            del self._lookups[topic]
            own.discard(topic)

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

    def prefilter(self, registration: SignalRegistration, cls: type[Model]) -> Prefilter:
        """What shows at once that a signal about an instance of ``cls`` matches nothing."""
        found = self._prefilters.get((registration.name, cls))
        if found is None:
            lookups = self._lookups_of(registration, cls)
            rules = (rule for _, lookup in lookups for group in lookup.rules.values() for rule in group)
            found = self._prefilters[registration.name, cls] = Prefilter(registration, rules)
        return found

    def match(self, call: SignalCall) -> list[Rule]:
        """The rules that a call of a signal matches, each once."""
        found = {candidate.trigger_id: candidate for candidate in self._candidates(call)}
        if found and (unusual := call.unusual):
            return [rule for rule in found.values() if all(rule.is_about(name) for name in unusual)]
        return list(found.values())

    def _candidates(self, call: SignalCall) -> Iterable[Rule]:
        registration = call.registration
        if not registration.needs_model and (lookup := self._lookups.get((registration.name, None))) is not None:
            yield from lookup.find("", call)
        for cls, pk, instance in call.models():
            for model, lookup in self._lookups_of(registration, cls):
                key = pk
                if pk and not shares_key(cls, model):
                    # Of a relation's other side only its own key is known.
                    key = "" if instance is None else pk_text(instance, model)
                yield from lookup.find(key, call)

    def _lookups_of(self, registration: SignalRegistration, cls: type) -> tuple[tuple[type[Model], Lookup], ...]:
        verb = registration.name
        found = self._by_class.get((verb, cls))
        if found is None:
            models = counts_as(cls, registration.inherits) if issubclass(cls, Model) else ()
            found = tuple((model, self._lookups[verb, model]) for model in models if (verb, model) in self._lookups)
            self._by_class[verb, cls] = found
        return found


def _about(rules: Iterable[Rule], verb: str, cls: type[Model]) -> list[Rule]:
    """Those of ``rules`` that signals of the verb about an instance of ``cls`` are looked up in."""
    registration = catalogue.find(verb)
    models = counts_as(cls, registration.inherits) if registration is not None else ()
    return [rule for rule in rules if rule.key is not None and rule.verb == verb and rule.action_model in models]
