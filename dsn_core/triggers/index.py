"""The index: which triggers a signal matches, from dictionaries, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, Model, OuterRef

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.models import Subscription, Trigger
from dsn_core.models.references import find_model, pk_text
from dsn_core.triggers.kinship import concerned, counts_as, senders

_Key = tuple[str, type[Model] | None, str, type[Model] | None, str, str]


@dataclass(frozen=True)
class Entry:
    """A trigger as matching sees it: models as classes, keys as texts, empty for any."""

    trigger_id: int
    label: str
    verb: str
    action_model: type[Model] | None
    action_pk: str
    actor_model: type[Model] | None
    actor_pk: str
    target: str

    @property
    def key(self) -> _Key:
        return (self.verb, self.action_model, self.action_pk, self.actor_model, self.actor_pk, self.target)


def read(using: str, trigger_ids: Collection[int] | None = None) -> dict[int, Entry]:
    """The enabled triggers with an enabled subscription (those of ``trigger_ids``, or all), by one query."""
    subscribed = Subscription.objects.using(using).filter(trigger=OuterRef("pk"), enabled=True)
    triggers = Trigger.objects.using(using).filter(Exists(subscribed), enabled=True).order_by()
    if trigger_ids is not None:
        triggers = triggers.filter(pk__in=trigger_ids)
    entries = (_entry(trigger) for trigger in triggers)
    return {entry.trigger_id: entry for entry in entries if entry is not None}


def _entry(trigger: Trigger) -> Entry | None:
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
    )


class Index:
    """Entries by their whole key; a signal is looked up under each key that it could match."""

    def __init__(self, entries: Mapping[int, Entry]) -> None:
        self._entries: dict[int, Entry] = {}
        self._buckets: dict[_Key, tuple[Entry, ...]] = {}
        # How many entries of a verb name a model, an actor or a target: what nobody asks is not looked up.
        self._asked: Counter[tuple[str, Any]] = Counter()
        for entry in entries.values():
            self._add(entry)

    def copy(self) -> Index:
        """Another index with the same entries, to be changed."""
        other = Index({})
        other._entries = dict(self._entries)
        other._buckets = dict(self._buckets)
        other._asked = Counter(self._asked)
        return other

    def replace(self, trigger_ids: Iterable[int], entries: Mapping[int, Entry]) -> None:
        """Let ``entries`` be what is there of ``trigger_ids``."""
        for trigger_id in trigger_ids:
            if (old := self._entries.pop(trigger_id, None)) is not None:
                left = tuple(entry for entry in self._buckets.pop(old.key) if entry is not old)
                if left:
                    self._buckets[old.key] = left
                self._asked.subtract(_asks(old))
            if (new := entries.get(trigger_id)) is not None:
                self._add(new)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.trigger_id] = entry
        self._buckets[entry.key] = (*self._buckets.get(entry.key, ()), entry)
        self._asked.update(_asks(entry))

    def __len__(self) -> int:
        return len(self._entries)

    def connections(self, find: Callable[[str], SignalRegistration | None]) -> Iterator[tuple[str, type[Model] | None]]:
        """The verbs and senders (None: all) that must be listened to. ``find`` gives a verb's registration or None."""
        for (verb, asked), count in self._asked.items():
            if count <= 0 or not (asked is None or isinstance(asked, type)):
                continue
            registration = find(verb)
            if registration is None:
                continue
            if not registration.needs_model:
                yield verb, None
            elif asked is not None:
                for sender in senders(registration, asked):
                    yield verb, sender

    def match(
        self, registration: SignalRegistration, sender: Any, kwargs: Mapping[str, Any]
    ) -> tuple[list[Entry], tuple[Any, Any, str]]:
        """The entries that a sent signal matches, and its action object, actor object and target."""
        verb = registration.name
        action_object, actor_object, target = registration.parts(sender, kwargs)
        actors: list[tuple[type[Model] | None, str]] = [(None, "")]
        if self._asked[verb, "actor"]:
            actors += _references([(actor_object.__class__, _key_of(actor_object))], inherits=True)
        targets = ["", target] if target and self._asked[verb, "target"] else [""]
        actions: list[tuple[type[Model] | None, str]] = []
        if self._asked[verb, None] and not registration.needs_model:
            actions.append((None, ""))
        if self._asked[verb, "model"]:
            actions += _references(concerned(registration, action_object, kwargs), inherits=registration.inherits)
        found: dict[int, Entry] = {}
        for action in actions:
            for actor in actors:
                for text in targets:
                    for entry in self._buckets.get((verb, *action, *actor, text), ()):
                        found[entry.trigger_id] = entry
        return list(found.values()), (action_object, actor_object, target)


def _asks(entry: Entry) -> list[tuple[str, Any]]:
    asks: list[tuple[str, Any]] = [(entry.verb, entry.action_model)]
    if entry.action_model is not None:
        asks.append((entry.verb, "model"))
    if entry.actor_model is not None:
        asks.append((entry.verb, "actor"))
    if entry.target:
        asks.append((entry.verb, "target"))
    return asks


def _references(subjects: Iterable[tuple[type, str]], *, inherits: bool) -> Iterator[tuple[type[Model], str]]:
    for cls, key in subjects:
        if not issubclass(cls, Model):
            continue
        for ancestor in counts_as(cls, inherits):
            yield ancestor, ""
            if key:
                yield ancestor, key


def _key_of(instance: Any) -> str:
    return pk_text(instance) if isinstance(instance, Model) else ""
