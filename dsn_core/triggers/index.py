"""The index: which triggers a signal matches, from dictionaries, however many there are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from django.db.models import Exists, Model, OuterRef

from dsn_core.contracts.conditions import Condition
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import ConfigurationError
from dsn_core.models import Subscription, Trigger
from dsn_core.models.references import find_model, pk_text
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers.glancing import Glance
from dsn_core.triggers.kinship import concerned, counts_as, senders, shares_key
from dsn_core.triggers.occasions import Occasion
from dsn_core.triggers.tables import Entry, Rule, Table

logger = logging.getLogger("dsn_core.triggers")

#: A verb, and the action object's model (None: any).
Topic: TypeAlias = tuple[str, type[Model] | None]


class Ear(NamedTuple):
    """What has to be listened to: a verb's signal from one sender (None: all)."""

    verb: str
    sender: type[Model] | None


def read(using: str, trigger_ids: Collection[int] | None = None) -> dict[int, Entry]:
    """The enabled triggers with an enabled subscription (those of ``trigger_ids``, or all), by one query."""
    subscribed = Subscription.objects.using(using).filter(trigger=OuterRef("pk"), enabled=True)
    triggers = Trigger.objects.using(using).filter(Exists(subscribed), enabled=True).order_by()
    if trigger_ids is not None:
        triggers = triggers.filter(pk__in=trigger_ids)
    entries = (_entry(trigger) for trigger in triggers)
    return {entry.trigger_id: entry for entry in entries if entry is not None}


def _entry(trigger: Trigger) -> Entry | None:
    try:
        conditions = tuple(Condition.of(row) for row in trigger.conditions)
    except (ConfigurationError, TypeError) as error:
        # What passed by the checks must not take all other triggers along.
        logger.error("Trigger %s matches nothing: its conditions cannot be read: %s", trigger.pk, error)
        return None
    action_model, actor_model = find_model(trigger.action_object_model), find_model(trigger.actor_object_model)
    if (trigger.action_object_model and action_model is None) or (trigger.actor_object_model and actor_model is None):
        # Its app is gone for now: it can match nothing, and must not match everything.
        return None
    return Entry(
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


class Index:
    """Entries, and by topic the tables in which signals are looked up."""

    def __init__(self, entries: Mapping[int, Entry]) -> None:
        self._entries: dict[int, Entry] = {}
        self._rules: dict[int, Rule] = {}
        self._tables: dict[Topic, Table] = {}
        #: Those of all models that an instance of a class counts as, by verb and class.
        self._by_class: dict[tuple[str, type], tuple[tuple[type[Model], Table], ...]] = {}
        #: What there is to see of them at a glance.
        self._glances: dict[tuple[str, type], Glance] = {}
        own: set[Topic] = set()
        for entry in entries.values():
            self._add(entry, own)

    def copy(self) -> Index:
        """Another index with the same entries, to be changed."""
        other = Index({})
        other._entries, other._rules, other._tables = dict(self._entries), dict(self._rules), dict(self._tables)
        return other

    def renewed(self) -> Index:
        """The same entries, prepared anew, because signals were registered or forgotten."""
        return Index(self._entries)

    def replace(self, trigger_ids: Iterable[int], entries: Mapping[int, Entry]) -> None:
        """Let ``entries`` be what is there of ``trigger_ids``."""
        own: set[Topic] = set()
        for trigger_id in trigger_ids:
            self._remove(trigger_id, own)
            if (new := entries.get(trigger_id)) is not None:
                self._add(new, own)
        self._by_class, self._glances = {}, {}

    def _table(self, topic: Topic, own: set[Topic]) -> Table:
        """The table of ``topic``, to be changed: unless it is our ``own`` already, another index may read it."""
        if topic not in own:
            own.add(topic)
            self._tables[topic] = self._tables[topic].copy() if topic in self._tables else Table()
        return self._tables[topic]

    def _add(self, entry: Entry, own: set[Topic]) -> None:
        self._entries[entry.trigger_id] = entry
        if (rule := Rule.of(entry)) is not None:
            self._rules[entry.trigger_id] = rule
            self._table((entry.verb, entry.action_model), own).add(rule)

    def _remove(self, trigger_id: int, own: set[Topic]) -> None:
        self._entries.pop(trigger_id, None)
        rule = self._rules.pop(trigger_id, None)
        if rule is None:
            return
        topic = (rule.entry.verb, rule.entry.action_model)
        table = self._table(topic, own)
        table.remove(rule)
        if not table.rules:
            del self._tables[topic]
            own.discard(topic)

    def __len__(self) -> int:
        return len(self._entries)

    def ears(self) -> Iterator[tuple[Ear, frozenset[str]]]:
        """What must be listened to, each with the columns that are to be read before the change."""
        for (verb, model), table in self._tables.items():
            registration = catalogue.find(verb)
            if registration is None:
                continue
            compared = table.compared()
            if not registration.needs_model:
                yield Ear(verb, None), compared
            elif model is not None:
                for sender in senders(registration, model):
                    yield Ear(verb, sender), compared

    def glance(self, registration: SignalRegistration, cls: type[Model]) -> Glance:
        """What shows at once that a signal about an instance of ``cls`` matches nothing."""
        glance = self._glances.get((registration.name, cls))
        if glance is None:
            tables = self._tables_of(registration.name, cls, registration.inherits)
            rules = ((model, (rule for group in table.rules.values() for rule in group)) for model, table in tables)
            glance = self._glances[registration.name, cls] = Glance(registration, rules)
        return glance

    def match(self, occasion: Occasion) -> list[Entry]:
        """The entries that a sent signal matches, each once."""
        registration = occasion.registration
        found: dict[int, Entry] = {}
        if not registration.needs_model and (table := self._tables.get((registration.name, None))) is not None:
            for rule in table.find("", occasion):
                found[rule.entry.trigger_id] = rule.entry
        for cls, pk, instance in concerned(occasion):
            for model, table in self._tables_of(registration.name, cls, registration.inherits):
                key = pk
                if pk and not shares_key(cls, model):
                    # Of a relation's other side only its own key is known.
                    key = "" if instance is None else pk_text(instance, model)
                for rule in table.find(key, occasion):
                    found[rule.entry.trigger_id] = rule.entry
        unusual = occasion.unusual
        if unusual and found:
            asked = {entry_id: self._rules[entry_id] for entry_id in found}
            return [entry for key, entry in found.items() if all(asked[key].is_about(name) for name in unusual)]
        return list(found.values())

    def _tables_of(self, verb: str, cls: type, inherits: bool) -> tuple[tuple[type[Model], Table], ...]:
        tables = self._by_class.get((verb, cls))
        if tables is None:
            models = counts_as(cls, inherits) if issubclass(cls, Model) else ()
            tables = tuple((model, self._tables[verb, model]) for model in models if (verb, model) in self._tables)
            self._by_class[verb, cls] = tables
        return tables
