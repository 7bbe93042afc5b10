from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db.models.signals import post_save
from django.dispatch import Signal

from dsn_core import SignalRegistration, register_signal
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.contracts.registrations import BuiltInSignal
from dsn_core.exceptions import ConfigurationError, ContractError, UnknownName
from dsn_core.plugins.catalogue import Catalogue, catalogue
from dsn_core.signals import catalogue_changed


@contextmanager
def counted_changes() -> Iterator[list[object]]:
    changes: list[object] = []

    def note(sender: object, **kwargs: object) -> None:
        changes.append(sender)

    catalogue_changed.connect(note)
    try:
        yield changes
    finally:
        catalogue_changed.disconnect(note)


def test_the_same_registration_again_changes_nothing() -> None:
    signal, verbs = Signal(), Catalogue()
    with counted_changes() as changes:
        verbs.add(SignalRegistration("released", signal, provides=["movie"]))
        verbs.add(SignalRegistration("released", signal, provides=["movie"]))

    assert verbs.names() == ["released"]
    assert len(changes) == 1


def test_the_same_signal_can_be_described_again() -> None:
    signal, verbs = Signal(), Catalogue()
    verbs.add(SignalRegistration("released", signal))
    with counted_changes() as changes:
        verbs.add(SignalRegistration("released", signal, provides=["movie"]))

    assert verbs.get("released").provides == ("movie",)
    assert len(changes) == 1


def test_what_a_plugin_said_of_a_signal_outlasts_a_registration_by_hand() -> None:
    signal, verbs = Signal(), Catalogue()
    given = verbs.add(BuiltInSignal("released", signal, provides=["movie"], senders="models"), by_plugin=True)
    with counted_changes() as changes:
        assert verbs.add(SignalRegistration("released", signal)) is given

    assert verbs.get("released") is given
    assert changes == []
    verbs.remove("released")
    verbs.add(SignalRegistration("released", signal))
    assert verbs.get("released").senders == "any"


def test_the_public_registration_takes_what_a_plugin_can_set_and_no_more() -> None:
    assert list(inspect.signature(SignalRegistration).parameters) == [
        "name", "signal", "provides", "action_object", "actor_object", "target", "description", "plain",
    ]  # fmt: skip
    for private in ("senders", "inherits", "removes", "recorded_by", "announced_by", "only", "keeps"):
        with pytest.raises(TypeError, match=private):
            SignalRegistration("released", Signal(), **{private: "models"})


def test_one_of_djangos_signals_stays_what_it_is_when_it_is_registered_by_hand() -> None:
    before = catalogue.get("post_save")

    assert register_signal("post_save", post_save) is before
    assert catalogue.get("post_save") is before
    assert before.needs_model
    with pytest.raises(ConfigurationError, match="'post_save' is already the name of another signal"):
        register_signal("post_save", Signal())


def test_another_signal_under_a_taken_name_is_refused() -> None:
    verbs = Catalogue()
    first = verbs.add(SignalRegistration("released", Signal()))

    with pytest.raises(ConfigurationError, match="'released' is already the name of another signal"):
        verbs.add(SignalRegistration("released", Signal()))
    assert verbs.get("released") is first


def test_one_signal_may_have_two_verbs() -> None:
    signal, verbs = Signal(), Catalogue()
    verbs.add(SignalRegistration("released", signal))
    verbs.add(SignalRegistration("premiered", signal))

    assert {item.name for item in verbs} == {"released", "premiered"}


def test_an_unknown_verb_says_the_nearest_and_the_way_out() -> None:
    verbs = Catalogue()
    verbs.add(SignalRegistration("released", Signal()))

    assert verbs.find("relesed") is None
    with pytest.raises(UnknownName, match=r"no verb 'relesed' \(did you mean 'released'\?\).*register_signal\(\)"):
        verbs.get("relesed")


def test_a_removed_verb_is_unknown() -> None:
    verbs = Catalogue()
    verbs.add(SignalRegistration("released", Signal()))
    verbs.remove("released")

    assert verbs.names() == []


@pytest.mark.parametrize("name", ["", "with space", "ünïcode", "-first", "x" * 101])
def test_a_name_that_rows_cannot_store_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match="the name of a signal"):
        SignalRegistration(name, Signal())


def test_register_signal_fills_the_catalogue_of_the_process() -> None:
    signal = Signal()
    try:
        made = register_signal("test_catalogue.released", signal, provides=["movie"], action_object="movie")
        assert catalogue.get("test_catalogue.released") is made
        assert SignalCall(made, "sender", {"movie": "Alien"}).action_object == "Alien"
        assert SignalCall(made, "sender", {}).action_object is None
    finally:
        catalogue.remove("test_catalogue.released")


@pytest.mark.parametrize("part", ["action_object", "actor_object", "target", "plain"])
def test_a_part_that_the_signal_does_not_provide_is_refused(part: str) -> None:
    def register(name: object, provides: object) -> None:
        given = {part: [name] if part == "plain" else name}
        register_signal("released", Signal(), provides=provides, **given)  # type: ignore[arg-type]

    try:
        with pytest.raises(ContractError, match=rf"{part} of the signal 'released' names 'move'.*mean 'movie'"):
            register("move", ["movie", "critic"])
        with pytest.raises(ContractError, match=rf"{part} of the signal 'released' names 'instance', which"):
            register("instance", ())
        for name in ("", 7, Signal):
            with pytest.raises(ContractError, match=rf"{part} of the signal 'released' names .* such as 'movie'"):
                register(name, None)
        assert catalogue.find("released") is None
        register("movie", {"movie": None})
        # What it provides is not known.
        catalogue.remove("released")
        register("anything", None)
    finally:
        catalogue.remove("released")


@pytest.mark.parametrize("name", ["", None, Signal])
def test_what_a_signal_provides_are_names(name: object) -> None:
    with pytest.raises(ContractError, match=r"provides of the signal 'released' names .* such as 'movie'"):
        SignalRegistration("released", Signal(), provides=["movie", name])  # type: ignore[list-item]
