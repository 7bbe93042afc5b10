"""How edits are announced: rows that processes compare, and what they then read again."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core import serializers
from django.core.exceptions import FieldDoesNotExist
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from dsn_core.models import ConfigurationChange, Subscription, Trigger, configuration
from dsn_core.models.changes import Change, ChangeLog
from dsn_core.models.configuration import MAX_NAMED
from dsn_core.signals import configuration_changed
from tests.testapp.models import Country, Movie

USING = "default"
#: Seconds for which a thread is waited for. One that waits for another's transaction takes longer.
PATIENCE = 60


@pytest.fixture(autouse=True)
def _no_runner(settings: Any) -> None:
    settings.DSN = {"RUNNER": "worker"}


def log(**changes: Change) -> ChangeLog:
    return ChangeLog({int(name[1:]): change for name, change in changes.items()})


def edit(*trigger_ids: int) -> Change:
    return Change(frozenset(trigger_ids))


ANY = Change(None)


class TestSince:
    def test_the_same_rows_tell_of_nothing(self) -> None:
        assert log(t1=edit(7)).since(log(t1=edit(7))) == frozenset()

    def test_new_rows_name_their_triggers(self) -> None:
        assert log(t1=edit(7), t2=edit(8), t3=edit(8, 9)).since(log(t1=edit(7))) == {8, 9}

    def test_a_new_row_that_names_none_means_any(self) -> None:
        assert log(t1=edit(7), t2=ANY).since(log(t1=edit(7))) is None

    def test_a_row_that_vanished_means_any(self) -> None:
        assert log(t2=edit(8)).since(log(t1=edit(7))) is None
        assert log().since(log(t1=edit(7))) is None

    def test_a_pruning_of_known_rows_tells_of_nothing(self) -> None:
        known = log(t1=edit(7), t2=edit(8), t3=edit(9))
        pruned = log(t3=edit(9), t4=Change(None, frozenset({1, 2})), t5=edit(5))
        assert pruned.since(known) == {5}

    def test_a_pruning_of_a_row_that_was_not_known_means_any(self) -> None:
        assert log(t4=Change(None, frozenset({1, 2}))).since(log(t1=edit(7))) is None

    def test_a_pruning_of_a_pruning_that_was_not_known_means_any(self) -> None:
        assert log(t9=Change(None, frozenset({4, 5}))).since(log(t1=edit(7), t5=edit(8))) is None

    def test_a_row_that_vanished_beside_a_pruning_means_any(self) -> None:
        assert log(t4=Change(None, frozenset({1}))).since(log(t1=edit(7), t2=edit(8))) is None


def define(target: str) -> Trigger:
    return Trigger.objects.define("post_save", action_object=Country, target=target)


def state() -> Any:
    return ConfigurationChange.state(USING)


def read() -> ChangeLog:
    return ConfigurationChange.read(USING)


@pytest.mark.django_db
class TestAnnouncing:
    def test_the_state_of_the_table_is_that_of_its_rows(self) -> None:
        define("a")
        assert state() == read().state
        ConfigurationChange.objects.all().delete()
        assert state() == read().state == (0, 0)

    def test_a_fixed_seed_of_random_makes_no_two_rows_alike(self) -> None:
        import random

        for _ in range(3):
            random.seed(7)
            define("a").save()
        assert len(read().changes) == state().rows

    def test_a_row_names_the_trigger_and_only_that(self) -> None:
        before = read()
        trigger = define("a")
        trigger.subscribe()
        assert read().since(before) == {trigger.pk}

    def test_a_subscription_that_is_moved_names_both_triggers(self) -> None:
        one, other = define("a"), define("b")
        subscription = one.subscribe()
        before = read()
        subscription.trigger = other
        subscription.save()
        assert read().since(before) == {one.pk, other.pk}

    def test_a_rollback_of_a_savepoint_leaves_nothing(self) -> None:
        before = state()
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            define("a")
            assert state() != before
            raise ZeroDivisionError
        assert state() == before

    def test_an_edit_of_very_many_triggers_names_none(self) -> None:
        triggers = [Trigger(verb="post_save", action_object_model="testapp.movie", target=f"t{n}") for n in range(501)]
        Trigger.objects.bulk_create(triggers)
        assert len(triggers) > MAX_NAMED
        before = read()
        Trigger.objects.all().delete()
        assert state().rows == before.state.rows + 1
        assert read().since(before) is None

    def test_what_a_fixture_brings_is_known_to_no_process(self, tmp_path: Any) -> None:
        define("a")
        before = read()
        path = tmp_path / "changes.json"
        path.write_text(serializers.serialize("json", ConfigurationChange.objects.all()))
        ConfigurationChange.objects.all().delete()
        call_command("loaddata", path, verbosity=0)
        assert read().since(before) is None
        assert read().changes.keys().isdisjoint(before.changes.keys())

    def test_a_fixture_of_everything_can_be_loaded_where_changes_are(self, tmp_path: Any) -> None:
        for name in "abc":
            define(name).subscribe()
        path = tmp_path / "all.json"
        rows = [*ConfigurationChange.objects.all(), *Trigger.objects.all(), *Subscription.objects.all()]
        path.write_text(serializers.serialize("json", rows))
        Trigger.objects.all().delete()
        ConfigurationChange.objects.all().delete()
        # Keys as a sequence would count them, which the fixture brings as well.
        contents = json.loads(path.read_text())
        for number, row in enumerate(row for row in contents if row["model"] == "dsn_core.configurationchange"):
            row["pk"] = number + 2
        path.write_text(json.dumps(contents))
        call_command("loaddata", path, verbosity=0)
        assert Trigger.objects.count() == 3


def statements(captured: CaptureQueriesContext) -> list[str]:
    edges = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return [query["sql"] for query in captured.captured_queries if not query["sql"].startswith(edges)]


@pytest.mark.django_db(transaction=True)
class TestBulk:
    """A bulk change is one announcement, however many rows it changes."""

    @pytest.fixture
    def announced(self) -> Iterator[list[Any]]:
        heard: list[Any] = []

        def hear(trigger_ids: Any, **kwargs: Any) -> None:
            heard.append(trigger_ids)

        configuration_changed.connect(hear)
        yield heard
        configuration_changed.disconnect(hear)

    def make(self, number: int) -> list[Trigger]:
        Trigger.objects.bulk_create(
            [Trigger(verb="post_save", action_object_model="testapp.movie", target=f"t{n}") for n in range(number)]
        )
        triggers = list(Trigger.objects.all())
        Subscription.objects.bulk_create([Subscription(trigger=trigger) for trigger in triggers])
        return triggers

    def cost(self, number: int, work: Callable[[list[Trigger]], object]) -> int:
        triggers = self.make(number)
        with CaptureQueriesContext(connection) as captured:
            work(triggers)
        Trigger.objects.all().delete()
        return len(statements(captured))

    @pytest.mark.parametrize(
        "work",
        [
            lambda triggers: Trigger.objects.all().delete(),
            lambda triggers: Subscription.objects.all().delete(),
            lambda triggers: Trigger.objects.bulk_update(triggers, ["enabled"]),
            lambda triggers: Trigger.objects.update(verb="pre_save"),
            lambda triggers: Subscription.objects.update(enabled=False),
        ],
        ids=["delete triggers", "delete subscriptions", "bulk_update", "update an identity", "update"],
    )
    def test_costs_the_same_for_ten_rows_and_for_a_hundred(self, work: Any) -> None:
        assert self.cost(10, work) == self.cost(100, work)

    def test_deleting_four_hundred_triggers_costs_what_django_asks_and_five(self) -> None:
        found = self.cost(400, lambda triggers: Trigger.objects.all().delete())
        plain = self.cost(400, models_delete)
        assert found <= plain + 5
        assert found < 60

    def test_deleting_one_with_many_subscriptions_is_one_announcement(self, announced: list[Any]) -> None:
        trigger = define("a")
        Subscription.objects.bulk_create([Subscription(trigger=trigger, name=f"n{n}") for n in range(50)])
        announced.clear()
        key = trigger.pk
        trigger.delete()
        assert announced == [{key}]

    def test_each_bulk_change_is_one_announcement(self, announced: list[Any]) -> None:
        triggers = self.make(30)
        for work in (
            lambda: Trigger.objects.update(verb="pre_save"),
            lambda: Trigger.objects.bulk_update(triggers, ["enabled"], batch_size=10),
            lambda: Subscription.objects.filter(trigger=triggers[0]).delete(),
            lambda: Trigger.objects.all().delete(),
        ):
            announced.clear()
            before = state().rows
            work()
            assert len(announced) == 1
            assert state().rows == before + 1

    def test_a_bulk_change_of_few_names_them(self, announced: list[Any]) -> None:
        first, second, *_ = self.make(3)
        subscriptions = Subscription.objects.filter(trigger__in=[first, second])
        for work in (
            lambda: Trigger.objects.filter(target__in=["t0", "t1"]).update(enabled=False),
            lambda: Trigger.objects.filter(target__in=["t0", "t1"]).update(verb="pre_save"),
            lambda: Trigger.objects.bulk_update([first, second], ["enabled"]),
            lambda: Trigger.objects.exclude(target="t2").order_by("-pk").update(enabled=True),
            lambda: subscriptions.update(enabled=False),
            lambda: Subscription.objects.bulk_update(list(subscriptions), ["name"]),
            lambda: Subscription.objects.bulk_create([Subscription(trigger=row, name="b") for row in (first, second)]),
        ):
            announced.clear()
            before = read()
            work()
            assert [set(trigger_ids) for trigger_ids in announced] == [{first.pk, second.pk}]
            assert read().since(before) == {first.pk, second.pk}
        assert Trigger.objects.filter(verb="pre_save", enabled=True).count() == 2

    def test_a_bulk_change_of_what_is_not_known_names_none(self, announced: list[Any], monkeypatch: Any) -> None:
        monkeypatch.setattr(configuration, "MAX_NAMED", 2)
        first, *_ = self.make(3)
        for work in (
            lambda: Trigger.objects.update(enabled=False),
            lambda: Trigger.objects.filter(verb="post_save").update(enabled=False),
            lambda: Subscription.objects.filter(name="").update(enabled=False),
            lambda: Subscription.objects.filter(trigger__target="t1").update(trigger=first, name="moved"),
        ):
            announced.clear()
            assert work()
            assert announced == [None]

    def test_an_update_of_nothing_announces_nothing(self, announced: list[Any]) -> None:
        self.make(1)
        announced.clear()
        assert Trigger.objects.filter(target="none").update(enabled=False) == 0
        assert announced == []
        with pytest.raises(FieldDoesNotExist):
            Trigger.objects.filter(target="none").update(nothing=1)

    def test_what_deletes_nothing_announces_nothing(self, announced: list[Any]) -> None:
        before = state()
        Trigger.objects.all().delete()
        assert announced == []
        assert state() == before

    def test_a_deletion_that_fails_announces_nothing_and_the_next_edit_does(self, announced: list[Any]) -> None:
        triggers = self.make(3)
        announced.clear()
        before = state()
        with pytest.raises(TypeError):
            Trigger.objects.all()[:1].delete()
        assert state() == before
        triggers[0].save()
        assert announced == [[triggers[0].pk]]


def models_delete(triggers: list[Trigger]) -> None:
    """What Django itself does to delete them, with nothing announced."""
    from django.db.models.deletion import Collector
    from django.db.models.signals import post_delete

    from dsn_core.models import subscription, trigger

    receivers = [(trigger._trigger_changed, Trigger), (subscription._subscription_changed, Subscription)]
    ids = ["dsn_trigger_changed", "dsn_subscription_changed"]
    for (_, sender), uid in zip(receivers, ids, strict=True):
        assert post_delete.disconnect(sender=sender, dispatch_uid=uid)
    try:
        collector = Collector(using=USING)
        collector.collect(Trigger.objects.all())
        collector.delete()
    finally:
        for (receiver, sender), uid in zip(receivers, ids, strict=True):
            post_delete.connect(receiver, sender=sender, dispatch_uid=uid)


class Other:
    """Another connection, in a thread of its own, which does one thing after the other."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._atomic: Any = None

    def start(self, work: Callable[[], Any]) -> Any:
        return self._pool.submit(work)

    def do(self, work: Callable[[], Any]) -> Any:
        return self.start(work).result(PATIENCE)

    def begin(self) -> None:
        self._atomic = transaction.atomic()
        self.do(self._atomic.__enter__)

    def commit(self) -> None:
        atomic, self._atomic = self._atomic, None
        self.do(lambda: atomic.__exit__(None, None, None))

    def close(self) -> None:
        if self._atomic is not None:
            self._pool.submit(connections.close_all).result(PATIENCE)
        self._pool.submit(connections.close_all).result(PATIENCE)
        self._pool.shutdown()


@pytest.fixture
def others(transactional_db: None) -> Iterator[tuple[Other, Other]]:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time.")
    pair = Other(), Other()
    yield pair
    for other in pair:
        other.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is pruned to four rows when it has more than ten."""
    monkeypatch.setattr(ConfigurationChange, "MAX", 10)
    monkeypatch.setattr(ConfigurationChange, "KEEP", 4)


class TestEditors:
    def test_unrelated_edits_do_not_wait_for_one_another(self, others: tuple[Other, Other]) -> None:
        one, other = others
        first, second = define("a"), define("b")
        one.begin()
        other.begin()
        one.do(first.save)
        other.do(second.save)
        other.do(second.subscribe)
        one.do(first.subscribe)
        other.commit()
        one.commit()

    def test_edits_that_cross_with_other_rows_do_not_deadlock(self, others: tuple[Other, Other]) -> None:
        one, other = others
        trigger, movie = define("a"), Movie.objects.create(name="M")
        one.begin()
        other.begin()
        one.do(trigger.save)
        other.do(lambda: Movie.objects.filter(pk=movie.pk).update(name="other"))
        waiting = one.start(lambda: Movie.objects.filter(pk=movie.pk).update(name="one"))
        other.do(lambda: define("b"))
        other.commit()
        assert waiting.result(PATIENCE) == 1
        one.commit()

    def test_two_that_make_the_first_edit_ever_do_not_wait(self, others: tuple[Other, Other]) -> None:
        one, other = others
        ConfigurationChange.objects.all().delete()
        one.begin()
        one.do(lambda: define("a"))
        other.do(lambda: define("b"))
        one.commit()
        assert Trigger.objects.count() == 2

    def test_what_began_early_and_commits_late_is_seen(self, others: tuple[Other, Other]) -> None:
        one, other = others
        first, second = define("a"), define("b")
        before = read()
        one.begin()
        one.do(first.save)
        other.do(second.save)
        between = read()
        assert between.since(before) == {second.pk}
        one.commit()
        assert state() != between.state
        assert read().since(between) == {first.pk}


@pytest.mark.usefixtures("small")
class TestPruning:
    @pytest.mark.django_db(transaction=True)
    def test_the_table_stays_small_and_a_process_that_knew_all_reads_nothing_more(self) -> None:
        trigger = define("a")
        known = read()
        for _ in range(50):
            trigger.save()
            assert state().rows <= 11
            new = read().since(known)
            known = read()
            assert new == {trigger.pk}

    @pytest.mark.django_db(transaction=True)
    def test_a_process_that_did_not_know_all_reads_everything(self) -> None:
        trigger = define("a")
        known = read()
        for _ in range(20):
            trigger.save()
        assert read().since(known) is None

    @pytest.mark.django_db(transaction=True)
    def test_the_row_of_the_version_before_stays(self) -> None:
        ConfigurationChange.objects.create(pk=ConfigurationChange.FIRST, token=5)
        trigger = define("a")
        for _ in range(20):
            trigger.save()
        assert ConfigurationChange.objects.filter(pk=ConfigurationChange.FIRST).exists()

    @pytest.mark.django_db(transaction=True)
    def test_many_edits_of_one_transaction_are_pruned_once_after_its_commit(self) -> None:
        trigger = define("a")
        with CaptureQueriesContext(connection) as captured, transaction.atomic():
            for _ in range(40):
                trigger.save()
            assert state().rows > 40
        assert state().rows <= 11
        assert len([sql for sql in statements(captured) if "DELETE" in sql]) == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_savepoint_that_is_rolled_back_takes_its_pruning_along_and_no_other(self) -> None:
        trigger = define("a")
        with transaction.atomic():
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                trigger.save()
                raise ZeroDivisionError
            for _ in range(20):
                trigger.save()
        assert state().rows <= 11

    @pytest.mark.django_db
    def test_nothing_is_pruned_inside_a_transaction(self, django_capture_on_commit_callbacks: Any) -> None:
        trigger = define("a")
        with django_capture_on_commit_callbacks(execute=True):
            for _ in range(20):
                trigger.save()
        assert state().rows >= 20

    @pytest.mark.django_db(transaction=True)
    def test_the_editing_code_gets_no_error_of_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(using: str) -> None:
            raise DatabaseError("read only")

        monkeypatch.setattr(ConfigurationChange, "prune", fail)
        define("a").save()

    def test_it_waits_for_no_editor_and_misses_no_late_commit(self, others: tuple[Other, Other]) -> None:
        one, other = others
        first, second = define("a"), define("b")
        one.begin()
        one.do(first.save)
        for _ in range(20):
            other.do(second.save)
        known = read()
        assert known.state.rows <= 11
        one.commit()
        assert read().since(known) == {first.pk}

    def test_it_does_not_wait_for_one_that_prunes_already(self, others: tuple[Other, Other]) -> None:
        one, other = others
        trigger = define("a")
        one.begin()
        one.do(lambda: list(ConfigurationChange.objects.select_for_update()))
        for _ in range(15):
            other.do(trigger.save)
        one.commit()
        other.do(trigger.save)
        assert state().rows <= 11

    def test_editors_and_pruners_side_by_side_leave_a_small_table_and_lose_no_edit(
        self, others: tuple[Other, Other]
    ) -> None:
        triggers = [define(name) for name in "ab"]
        barrier = threading.Barrier(2)

        def work(trigger: Trigger) -> None:
            barrier.wait(PATIENCE)
            for _ in range(40):
                trigger.save()

        done = [
            other.start(lambda trigger=trigger: work(trigger)) for other, trigger in zip(others, triggers, strict=True)
        ]
        for future in done:
            future.result(60)
        triggers[0].save()
        assert state().rows <= 20
