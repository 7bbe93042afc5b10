"""Conditions: every operator on every kind, what is refused, what paths cost, and what changed."""

from __future__ import annotations

import datetime
import decimal
import uuid
import zoneinfo
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from dsn_core import emit, register_signal
from dsn_core.conditions import evaluation
from dsn_core.conditions.operators import OPERATORS, Condition
from dsn_core.conditions.signal_call import SignalCall
from dsn_core.conditions.wording import read, written
from dsn_core.exceptions import ConfigurationError
from dsn_core.intake import record as intake
from dsn_core.models import Event, Subscription, Trigger
from dsn_core.plugins.catalogue import catalogue
from dsn_core.triggers import rules
from dsn_core.triggers.dispatch import trigger_cache
from tests.shapes.models import Article, Author, Label, Truck, Vehicle
from tests.testapp.models import Country, Movie

pytestmark = pytest.mark.django_db

UTC = datetime.UTC
REFERENCE = uuid.UUID("12345678-1234-5678-1234-567812345678")
NOON = datetime.datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_MOMENT = datetime.timedelta(0)


@pytest.fixture(autouse=True)
def said(monkeypatch):
    """What was said once is said again in the next test."""
    monkeypatch.setattr(rules, "_said", set())


@pytest.fixture
def author():
    return Author.objects.create(name="Ann", code="ann", boss=Author.objects.create(name="Bob", code="bob"))


@pytest.fixture
def article(author):
    return Article.objects.create(
        title="Hello world", status="review", count=5, price="9.90", rating=1.5, active=True, at=NOON,
        day=NOON.date(), time=NOON.time(), span=datetime.timedelta(hours=2),
        reference=REFERENCE, data={"tags": ["a", 7]},
        address="2001:db8::1", attachment="plan.pdf", raw=b"xyz", author=author, editor=author,
    )  # fmt: skip


def defined(*rows, verb="post_save", model: Any = Article, **parts):
    trigger = Trigger.objects.define(verb, action_object=model, conditions=rows, **parts)
    trigger.subscribe()
    return trigger


# For each kind of value: rows that hold of the article above, and rows that do not.
HOLDS = [
    # text
    ("instance.title", "equals", "Hello world"),
    ("instance.title", "not", "other"),
    ("instance.title", "in", ["x", "Hello world"]),
    ("instance.title", "contains", "lo wo"),
    ("instance.title", "starts with", "Hello"),
    ("instance.title", "greater", "Hallo"),
    ("instance.title", "at least", "Hello world"),
    ("instance.title", "less", "Z"),
    ("instance.title", "at most", "Hello world"),
    ("instance.title", "matches", r"^Hello \w+$"),
    ("instance.title", "is null", False),
    ("instance.status", "equals", Article.Status.REVIEW),
    ("instance.attachment", "equals", "plan.pdf"),
    ("instance.attachment", "contains", ".pdf"),
    ("instance.address", "equals", "2001:0db8::0001"),
    # number
    ("instance.count", "equals", 5),
    ("instance.count", "not", 6),
    ("instance.count", "in", [4, "5"]),
    ("instance.count", "greater", 4),
    ("instance.count", "at least", 5),
    ("instance.count", "less", 6),
    ("instance.count", "at most", 5),
    ("instance.double", "equals", 10),
    ("instance.price", "equals", "9.9"),
    ("instance.price", "equals", decimal.Decimal("9.90")),
    ("instance.price", "greater", 9),
    ("instance.price", "less", 9.95),
    ("instance.rating", "equals", 1.5),
    # boolean
    ("instance.active", "equals", True),
    ("instance.active", "not", False),
    ("instance.active", "in", [True]),
    ("instance.active", "is true"),
    ("created", "is true", False),
    ("raw", "is true", "no"),
    # moment
    ("instance.at", "equals", NOON),
    ("instance.at", "equals", "2026-03-01T13:00+01:00"),
    ("instance.at", "greater", "2026-03-01"),
    ("instance.at", "less", NOON + datetime.timedelta(seconds=1)),
    ("instance.day", "equals", datetime.date(2026, 3, 1)),
    ("instance.day", "at most", "2026-03-01"),
    ("instance.time", "equals", "12:00"),
    ("instance.span", "greater", datetime.timedelta(hours=1)),
    ("instance.span", "equals", "02:00:00"),
    # key
    ("instance.reference", "equals", REFERENCE),
    ("instance.reference", "in", [REFERENCE.hex]),
    ("instance.reference", "not", str(uuid.UUID(int=1))),
    # collection, opaque, any
    ("update_fields", "is null"),
    ("instance.raw", "is null", False),
    ("instance.data", "is null", "no"),
    ("instance.data.tags", "contains", "a"),
    ("instance.data.tags", "contains", 7),
    ("instance.length", "equals", 11),
    ("instance.length", "greater", 10),
    # parts, and paths over relations
    ("verb", "equals", "post_save"),
    ("action_object.title", "equals", "Hello world"),
    ("instance.author.name", "equals", "Ann"),
    ("instance.author.boss.name", "matches", "^B"),
    ("instance.author.boss.boss", "is null"),
    ("instance.author.boss.boss.name", "is null"),
    ("instance.editor.name", "equals", "Ann"),
]  # fmt: skip
FAILS = [
    ("instance.title", "equals", "hello world"),
    ("instance.title", "not", "Hello world"),
    ("instance.title", "in", ["x", "y"]),
    ("instance.title", "contains", "Lo"),
    ("instance.title", "starts with", "ello"),
    ("instance.title", "greater", "Hello world"),
    ("instance.title", "at least", "I"),
    ("instance.title", "less", "Hello world"),
    ("instance.title", "at most", "H"),
    ("instance.title", "matches", "^world"),
    ("instance.title", "is null"),
    ("instance.count", "equals", 6),
    ("instance.count", "not", "5"),
    ("instance.count", "in", [1]),
    ("instance.count", "greater", 5),
    ("instance.count", "less", 5),
    ("instance.price", "at most", "9.89"),
    ("instance.active", "equals", False),
    ("instance.active", "not", True),
    ("instance.active", "is true", False),
    ("created", "is true"),
    ("instance.at", "greater", NOON),
    ("instance.at", "not", NOON),
    ("instance.day", "less", "2026-03-01"),
    ("instance.time", "less", "12:00"),
    ("instance.span", "less", "02:00:00"),
    ("instance.reference", "equals", uuid.UUID(int=1)),
    ("instance.reference", "in", [uuid.UUID(int=1)]),
    ("update_fields", "is null", False),
    ("update_fields", "contains", "title"),
    ("instance.raw", "is null"),
    ("instance.data.tags", "contains", "7"),
    ("instance.length", "less", "many"),
    ("instance.author.boss", "is null"),
    ("instance.author.boss.boss.name", "equals", "Cat"),
    ("instance.author.boss.boss.name", "greater", "A"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "expected"), [(HOLDS, 1), (FAILS, 0)], ids=["holds", "fails"])
def test_every_operator_on_every_kind(article, count, rows, expected):
    triggers = {row: defined(row) for row in map(_hashable, rows)}
    # Saved as it was read, and as somebody assigned it.
    Article.objects.get(pk=article.pk).save()
    assert {row: count(trigger) for row, trigger in triggers.items()} == dict.fromkeys(triggers, expected)
    article.save()
    wrong = {row: count(trigger) for row, trigger in triggers.items() if count(trigger) != 2 * expected}
    assert wrong == {}


def _hashable(row):
    return (*row[:2], *(tuple(value) if isinstance(value, list) else value for value in row[2:]))


def test_the_table_above_has_every_operator_that_compares_with_now():
    plain = {name for name, operator in OPERATORS.items() if not operator.compares}
    assert {row[1] for row in HOLDS} == plain
    assert {row[1] for row in FAILS} == plain


def test_all_conditions_must_hold(article, count):
    both = defined(("instance.count", "equals", 5), ("instance.status", "equals", "review"))
    one = defined(("instance.count", "equals", 5), ("instance.status", "equals", "draft"))
    twice = defined(("instance.count", "equals", 5), ("instance.count", "equals", 6))
    article.save()
    assert [count(trigger) for trigger in (both, one, twice)] == [1, 0, 0]


def test_conditions_make_another_trigger_in_whatever_order():
    rows = [("instance.count", "equals", 5), ("instance.title", "starts with", "x")]
    one = Trigger.objects.define("post_save", action_object=Article, conditions=rows)
    assert Trigger.objects.define("post_save", action_object=Article, conditions=rows[::-1]) == one
    assert Trigger.objects.define("post_save", action_object=Article) != one
    assert "if instance.count equals 5, instance.title starts with 'x'" in str(one)


# What is refused

REFUSED = [
    (("instance.titel", "equals", "x"), "shapes.Article has no field or attribute 'titel' (did you mean 'title'?)"),
    (("instnce.title", "equals", "x"), "post_save provides no 'instnce' (did you mean 'instance'?)"),
    (("instance..title", "equals", "x"), "is not a path"),
    (("instance.title; drop", "equals", "x"), "is not a path"),
    (("", "equals", "x"), "is not a path"),
    (("instance._state", "is null"), "'_state' begins with an underscore"),
    (("instance.title.upper", "equals", "x"), "title is a plain value: no path goes on from there"),
    (("target.name", "equals", "x"), "target is a plain value: no path goes on from there"),
    (("instance.shout", "equals", "x"), "Article.shout is a method; a condition calls nothing"),
    (("instance.author_id.name", "equals", "x"), "author_id is only the key; a path goes on from author"),
    (("instance.title", "is", "x"), "no operator 'is'"),
    (("instance.title", "equals"), "A value is missing"),
    (("instance.title", "equals", None), "To test for missing values, use 'is null'"),
    (("instance.title", "equals", 5), "5 is no value of the kind text"),
    (("instance.count", "equals", "many"), "instance.count cannot be 'many'"),
    (("instance.count", "equals", 5.5), "5.5 is no value of the kind number"),
    (("instance.count", "equals", True), "True is no value of the kind number"),
    (("instance.count", "contains", 5), "'contains' does not suit instance.count, which holds a value of the"),
    (("instance.count", "matches", "5"), "'matches' does not suit instance.count"),
    (("instance.count", "is true"), "'is true' does not suit"),
    (("instance.active", "equals", "yes"), "'yes' is no value of the kind boolean"),
    (("instance.active", "greater", True), "'greater' does not suit"),
    (("instance.active", "is true", "perhaps"), "takes yes or no, not 'perhaps'"),
    (("instance.at", "greater", "soon"), "instance.at cannot be 'soon'"),
    (("instance.at", "equals", 5), "5 is no value of the kind moment"),
    (("instance.reference", "equals", "abc"), "instance.reference cannot be 'abc'"),
    (("instance.raw", "equals", "x"), "does not suit instance.raw, which holds a value of the kind opaque"),
    (("instance.status", "equals", "done"), "'done' is none of the choices of instance.status: draft, review, publish"),
    (("instance.status", "in", ["draft", "done"]), "'done' is none of the choices"),
    (("instance.title", "in", "abc"), "'in' takes a list of values"),
    (("instance.title", "in", []), "The list is empty"),
    (("instance.title", "starts with", ""), "'starts with' takes a text"),
    (("instance.title", "matches", "("), "is no regular expression"),
    (("instance.title", "matches", "(a+)+$"), "could take too long to search for. Begin it with"),
    (("instance.title", "equals", "a\0b"), "characters that a database cannot store"),
    (("instance.title", "equals", "a\ud800"), "characters that a database cannot store"),
    (("instance.title", "equals", object()), "cannot be the value of a condition"),
    (("instance.rating", "equals", float("nan")), "cannot be the value of a condition"),
    (("instance.author", "equals", Country(code="x")), "instance.author_id refers to shapes.Author, and"),
    (("instance.author", "equals", Author(name="unsaved")), "A value is missing"),
    (("instance.labels", "equals", 1), "has no field or attribute 'labels'"),
    (("instance.title", "changed", "x"), "'changed' takes no value"),
    (("instance.title", "changed to"), "A value is missing"),
    (("instance.title", "changed to", 5), "5 is no value of the kind text"),
    (("instance.author.name", "changed"), "'changed' compares a field of the instance itself with the database"),
    (("instance.length", "changed"), "'changed' compares a field of the instance itself"),
    (("created", "changed"), "'changed' compares a field of the instance itself"),
    (("instance.id", "changed"), "instance.id is the key, which never changes for an instance"),
    (("instance.pk", "changed to", 5), "instance.pk is the key"),
    ("nonsense", "is no condition: give a path, an operator and a value"),
    ((1, 2), "its path and its operator are texts"),
    ({"path": "created"}, "is no condition"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "reason"), REFUSED)
def test_what_cannot_hold_is_refused_with_a_sentence_that_names_the_row(row, reason):
    fine = ("instance.count", "equals", 1)
    with pytest.raises(ValidationError) as refused:
        Trigger.objects.define("post_save", action_object=Article, conditions=[fine, row])
    (sentence,) = refused.value.message_dict["conditions"]
    assert sentence.startswith("Condition 2 (")
    assert reason in sentence
    assert not Trigger.objects.exists()


def test_every_bad_row_is_named_at_once():
    rows = [("instance.a", "equals", 1), ("instance.count", "equals", 1), ("instance.b", "equals", 1)]
    with pytest.raises(ValidationError) as refused:
        Trigger.objects.define("post_save", action_object=Article, conditions=rows)
    sentences = refused.value.message_dict["conditions"]
    assert [sentence.split(" (")[0] for sentence in sentences] == ["Condition 1", "Condition 3"]


@pytest.mark.parametrize(
    ("verb", "model", "row", "reason"),
    [
        ("post_delete", Article, ("instance.title", "changed"), "post_delete has no before and after: 'changed' works"),
        ("m2m_changed", Vehicle, ("action", "changed to", "post_add"), "m2m_changed has no before and after"),
        ("post_save", Vehicle, ("instance.labels", "is null"), "Vehicle.labels leads to many objects"),
        ("post_save", Author, ("instance.article", "is null"), "leads to many objects, and a condition is about one"),
        ("request_finished", None, ("instance.title", "equals", "x"), "request_finished provides no 'instance'"),
        ("user_logged_in", None, ("created", "is true"), "user_logged_in provides no 'created'"),
    ],
)  # fmt: skip
def test_what_does_not_suit_the_signal_is_refused(verb, model, row, reason):
    with pytest.raises(ValidationError, match="Condition 1") as refused:
        Trigger.objects.define(verb, action_object=model, conditions=[row])
    assert reason in str(refused.value)


def test_too_many_and_no_list_are_refused():
    for rows in ("created is true", {"path": "created"}, 5):
        with pytest.raises(ValidationError, match="list of rows"):
            Trigger.objects.define("post_save", action_object=Article, conditions=rows)
    rows = [("instance.count", "not", number) for number in range(21)]
    with pytest.raises(ValidationError, match="at most 20 conditions"):
        Trigger.objects.define("post_save", action_object=Article, conditions=rows)


def test_a_row_that_passed_by_the_checks_silences_its_own_trigger_only(article, count, caplog):
    unreadable, unusable, good = defined(), defined(("instance.count", "equals", 1)), defined(("raw", "is null", "no"))
    Trigger.objects.filter(pk=unreadable.pk).update(conditions=["nonsense"])
    Trigger.objects.filter(pk=unusable.pk).update(conditions=[{"path": "x.y", "operator": "equals", "value": 1}])
    article.save()
    assert [count(trigger) for trigger in (unreadable, unusable, good)] == [0, 0, 1]
    assert f"Trigger {unreadable.pk} matches nothing: its conditions cannot be read" in caplog.text
    assert "matches nothing: its conditions cannot be used: post_save provides no 'x'" in " ".join(caplog.text.split())


# What somebody types


@pytest.mark.parametrize(
    ("path", "operator", "text", "value"),
    [
        ("instance.title", "equals", "5", "5"),
        ("instance.count", "equals", " 5 ", 5),
        ("instance.active", "equals", "Yes", True),
        ("created", "is true", "no", False),
        ("created", "is true", "", True),
        ("instance.status", "in", "draft, review", ["draft", "review"]),
        ("instance.title", "in", '["a, b", "c"]', ["a, b", "c"]),
        ("instance.count", "in", "1, 2", [1, 2]),
        ("instance.price", "greater", "1.50", "1.50"),
        ("instance.length", "equals", "5", 5),
        ("instance.length", "equals", '"5"', "5"),
        ("instance.length", "equals", "five", "five"),
        ("update_fields", "contains", "title", "title"),
        ("instance.title", "changed", "", None),
    ],
)
def test_what_is_typed_is_read_as_what_the_path_holds_and_written_back(path, operator, text, value):
    trigger = Trigger(verb="post_save", action_object_model="shapes.article")
    typed = read(path, operator, text, trigger.roots)
    stored = Trigger.objects.define("post_save", action_object=Article, conditions=[typed]).conditions[0]
    assert stored["value"] == value
    shown = written(Condition.of(stored), trigger.roots)
    again = Trigger.objects.define(
        "post_save", action_object=Article, conditions=[read(path, operator, shown, trigger.roots)]
    )
    assert again.conditions[0]["value"] == value


# Arguments of a project's own signals


@pytest.fixture
def sold(released):
    register_signal("released", released, provides=None, actor_object="who", target="where")
    return released


def test_values_of_unknown_types_are_compared_as_what_they_turn_out_to_be(sold, count):
    movie = Movie.objects.create(name="M")
    rows = {
        ("price", "greater", 5): decimal.Decimal("9.5"),
        ("price", "equals", "9.50"): decimal.Decimal("9.5"),
        ("reference", "equals", REFERENCE): REFERENCE,
        ("moment", "less", "2026-03-02T00:00+00:00"): NOON,
        ("day", "equals", "2026-03-01"): NOON.date(),
        ("movie", "equals", movie): movie,
        ("lazy", "equals", movie): SimpleLazyObject(lambda: movie),
        ("movies", "contains", movie): [movie],
        ("keys", "contains", REFERENCE): {REFERENCE},
        ("status", "equals", Article.Status.DRAFT): Article.Status.DRAFT,
        ("status_text", "equals", Article.Status.DRAFT): "draft",
        ("ratio", "equals", 1): 1.0,
        ("article", "is null"): None,
    }
    triggers = {row: defined(row, verb="released", model=None) for row in rows}
    sold.send(sender=None, **{row[0]: value for row, value in rows.items()})
    assert {row: count(trigger) for row, trigger in triggers.items()} == dict.fromkeys(rows, 1)
    Event.objects.all().delete()
    sold.send(sender=None, **{row[0]: "something else" for row in rows})
    assert {row[0] for row, trigger in triggers.items() if count(trigger)} == set()


def test_the_same_path_is_read_as_each_triggers_own_model_says(sold, count, author):
    # Of any action object nobody knows what it holds; of an article, that its count is a number.
    text, number = (
        defined(("instance.count", "equals", value), verb="released", model=model)
        for value, model in (("5", None), (5, Article))
    )
    article = Article.objects.create(title="x")
    article.count = "5"
    sold.send(sender=None, instance=article)
    assert (count(text), count(number)) == (1, 1)


def test_conditions_on_the_actor_and_the_target(sold, count, django_user_model):
    staff = django_user_model.objects.create(username="ann", is_staff=True)
    by_staff = defined(("actor_object.is_staff", "is true"), verb="released", model=None)
    typed = defined(("who.username", "equals", "ann"), verb="released", model=None, actor_object=django_user_model)
    here = defined(("target", "starts with", "ho"), verb="released", model=None)
    sold.send(sender=None, who=staff, where="home")
    sold.send(sender=None, who=django_user_model(username="bob"), where="away")
    sold.send(sender=None)
    assert [count(trigger) for trigger in (by_staff, typed, here)] == [1, 1, 1]


def test_a_relation_to_many_of_an_unknown_argument_is_not_searched(sold, count, django_assert_num_queries):
    movie = Movie.objects.create(name="M")
    trigger = defined(("movie.audiences", "contains", 1), verb="released", model=None)
    with django_assert_num_queries(0):
        sold.send(sender=None, movie=movie)
    assert count(trigger) == 0


# What paths cost, and what becomes of those that lead nowhere


def queries(work):
    with CaptureQueriesContext(connection) as captured:
        work()
    return [
        query["sql"] for query in captured.captured_queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))
    ]


def test_a_path_costs_a_query_for_each_relation_that_is_not_loaded(article):
    nobody = ("instance.author.boss.name", "equals", "nobody")
    for number in range(5):
        defined(nobody, ("instance.count", "not", number))
    fresh = Article.objects.get(pk=article.pk)
    assert len(queries(fresh.save)) == 3  # the update, the author, the author's boss: once for five triggers
    assert len(queries(fresh.save)) == 1  # loaded now
    joined = Article.objects.select_related("author__boss").get(pk=article.pk)
    assert len(queries(joined.save)) == 1


def test_the_key_of_a_relation_costs_no_query(article, author, count):
    by_key, to_field = defined(("instance.author", "equals", author)), defined(("instance.editor", "equals", author))
    key_itself = defined(("instance.author_id", "equals", author.pk))
    Article.objects.filter(pk=article.pk).update(title="x")
    assert to_field.conditions[0]["value"] == "ann"
    fresh = Article.objects.get(pk=article.pk)
    statements = queries(fresh.save)
    assert [sql for sql in statements if "shapes_author" in sql] == []
    assert [count(trigger) for trigger in (by_key, to_field, key_itself)] == [1, 1, 1]


def test_loaded_fields_cost_neither_query_nor_savepoint(article, django_assert_num_queries):
    defined(("instance.count", "equals", 77))
    defined(("instance.title", "starts with", "x"), ("instance.price", "greater", 3))
    with django_assert_num_queries(1):
        article.save(force_update=True)


def test_a_path_that_leads_nowhere_does_not_match_is_counted_and_said_once(sold, count, caplog):
    trigger = defined(("movie.director.name", "equals", "Lang"), verb="released", model=None)
    other = defined(("place", "is null"), verb="released", model=None)
    before = intake.errors["path"]
    for _ in range(3):
        sold.send(sender=None, movie=Movie(name="M"))
    assert (count(trigger), count(other), intake.errors["path"] - before) == (0, 0, 6)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "Signal released: the path 'movie.director.name' leads nowhere" in warnings[0] + warnings[1]
    assert "has no attribute 'director'" in caplog.text
    assert "the signal came without 'place'" in caplog.text
    assert str(trigger) in caplog.text


def test_what_a_condition_breaks_is_its_own_trigger_and_nobodys_transaction(article, author, count, caplog):
    failing, broken, fine = (
        defined(row)
        for row in (
            ("instance.failing", "equals", 1),
            ("instance.author.broken", "equals", "x"),
            ("raw", "is true", "no"),
        )
    )
    with transaction.atomic():
        article.title = "kept"
        article.save()
    article.refresh_from_db()
    assert article.title == "kept"
    assert [count(trigger) for trigger in (failing, broken, fine)] == [0, 0, 1]
    assert "on purpose" in caplog.text
    assert "nothing_such" in caplog.text or "nowhere" in caplog.text


def test_strict_raises_what_a_condition_breaks(article, settings):
    defined(("instance.failing", "equals", 1))
    settings.DSN = {"STRICT": True, "RUNNER": "worker"}
    with pytest.raises(ZeroDivisionError):
        article.save()


def test_what_a_condition_loads_is_no_news(article, author, count):
    loaded = defined(verb="post_init", model=Author)
    made = defined(
        ("instance.title", "equals", "Hello world"), ("instance.count", "equals", 5), verb="post_init", model=Article
    )
    saved = defined(("instance.author.boss.name", "equals", "Bob"))
    fresh = Article.objects.only("id").get(pk=article.pk)
    assert (count(made), count(loaded)) == (1, 0)
    fresh.save()
    assert (count(saved), count(loaded)) == (1, 0)


# Looked up, not scanned


class Counting(dict):
    """A dictionary that counts how often it is asked, and that must not be searched."""

    asked = 0

    def get(self, key, default=None):
        self.asked += 1
        return super().get(key, default)

    def __iter__(self):
        raise AssertionError("The rules were searched.")

    values = items = keys = __iter__


def in_bulk(rows):
    made = [Trigger(verb="post_save", action_object_model="shapes.article", conditions=row) for row in rows]
    Trigger.objects.bulk_create(made)
    Subscription.objects.bulk_create([Subscription(trigger=trigger) for trigger in Trigger.objects.all()])


def test_equality_on_a_thousand_triggers_of_one_model_is_looked_up(article, monkeypatch):
    def row(path, value, *more):
        return [{"path": path, "operator": "equals", "value": value}, *more]

    more = {"path": "instance.title", "operator": "starts with", "value": "Hello"}
    in_bulk([row("instance.count", number, *([more] if number % 2 else [])) for number in range(1_000)])
    asked: list[Any] = []
    holds = evaluation.Test.holds
    monkeypatch.setattr(evaluation.Test, "holds", lambda self, call: asked.append(self) or holds(self, call))
    index = trigger_cache.matcher()
    assert index is not None
    (table,) = index._lookups.values()
    table.rules = Counting(table.rules)
    call = SignalCall(catalogue.get("post_save"), Article, {"instance": article, "created": False})
    (found,) = index.match(call)
    # Two look-ups, by any key and by the article's; one condition that is left to be asked of the one rule found.
    assert (found.conditions[0].value, table.rules.asked, len(asked)) == (5, 2, 1)


def test_a_value_that_cannot_be_looked_up_is_compared_with_each(sold, count):
    triggers = [defined(("price", "equals", value), verb="released", model=None) for value in ("1.50", 2)]
    sold.send(sender=None, price=decimal.Decimal("1.5"))
    sold.send(sender=None, price=decimal.Decimal(2))
    sold.send(sender=None, price=[])
    assert [count(trigger) for trigger in triggers] == [1, 1]


# What changed


@pytest.fixture
def watched(article):
    """A trigger for each way to ask, and a function that says which ones matched since."""
    rows = {
        "changed": ("instance.status", "changed"),
        "from": ("instance.status", "changed from", "review"),
        "to": ("instance.status", "changed to", "published"),
    }
    triggers = {name: defined(row) for name, row in rows.items()}

    def matched():
        keys = set(Event.objects.values_list("trigger_id", flat=True))
        Event.objects.all().delete()
        return {name for name, trigger in triggers.items() if trigger.pk in keys}

    return SimpleNamespace(article=article, matched=matched)


def save(article, status, **kwargs):
    article.status = status
    article.save(**kwargs)


def undone(article, status):
    """Save in a transaction that is rolled back."""
    with transaction.atomic():
        save(article, status)
        transaction.set_rollback(True)


def test_what_changed_is_what_the_database_held(watched):
    save(watched.article, "review")
    assert watched.matched() == set()
    save(watched.article, "published")
    assert watched.matched() == {"changed", "from", "to"}
    save(watched.article, "published")
    assert watched.matched() == set()
    save(watched.article, "draft")
    assert watched.matched() == {"changed"}
    # Another instance of the row, which never held what is in the database.
    save(Article(pk=watched.article.pk, title="x"), "draft")
    assert watched.matched() == set()
    Article.objects.filter(pk=watched.article.pk).update(status="review")
    save(watched.article, "published")
    assert watched.matched() == {"changed", "from", "to"}


def test_a_new_row_changed_to_what_it_is_and_changed_in_no_other_way(watched):
    Article.objects.create(title="new", status="published")
    assert watched.matched() == {"to"}
    Article.objects.create(pk=77_000, title="new, with a key", status="published")
    assert watched.matched() == {"to"}
    Article.objects.create(title="new", status="draft")
    assert watched.matched() == set()


def test_a_new_row_can_be_told_apart(article, count):
    trigger = defined(("instance.status", "changed to", "published"), ("created", "is true", False))
    Article.objects.create(title="new", status="published")
    assert count(trigger) == 0
    save(article, "published")
    assert count(trigger) == 1


def test_what_is_not_written_did_not_change(watched):
    save(watched.article, "published", update_fields=["title"])
    assert watched.matched() == set()
    save(watched.article, "published", update_fields=["status"])
    assert watched.matched() == {"changed", "from", "to"}
    part = Article.objects.only("title").get(pk=watched.article.pk)
    part.title = "other"
    part.save()
    assert watched.matched() == set()
    part = Article.objects.defer("title").get(pk=watched.article.pk)
    save(part, "review")
    assert watched.matched() == {"changed"}


def test_looking_before_costs_one_query_and_only_where_it_can_matter(article, count, django_assert_num_queries):
    defined(("instance.status", "changed"))
    defined(("instance.count", "changed to", 1_000))
    statements = queries(article.save)
    assert len(statements) == 2
    assert statements[0].startswith("SELECT")
    assert len(queries(lambda: article.save(update_fields=["title"]))) == 1
    with django_assert_num_queries(1):
        Label.objects.create(name="not watched")
    assert len(queries(lambda: Article.objects.create(title="new"))) == 1


@pytest.mark.parametrize(("before", "after"), [(5, 6), (6, 7)])
def test_of_an_expression_counts_what_the_database_made_of_it(article, count, before, after):
    Article.objects.filter(pk=article.pk).update(count=before)
    article.refresh_from_db()
    changed_to, holds = defined(("instance.count", "changed to", 6)), defined(("instance.count", "equals", 6))
    doubled, double = defined(("instance.double", "changed to", 12)), defined(("instance.double", "equals", 12))
    article.count = F("count") + 1
    article.save()
    expected = [int(after == 6)] * 4
    assert [count(trigger) for trigger in (changed_to, holds, doubled, double)] == expected
    article.refresh_from_db()
    assert article.count == after


def test_several_saves_in_one_transaction_are_compared_one_by_one(watched):
    with transaction.atomic():
        save(watched.article, "draft")
        assert watched.matched() == {"changed", "from"}
        save(watched.article, "published")
        assert watched.matched() == {"changed", "to"}
        save(Article.objects.get(pk=watched.article.pk), "published")
        assert watched.matched() == set()


def test_what_was_rolled_back_never_was(watched):
    undone(watched.article, "published")
    assert watched.matched() == set()
    # The instance says published, as it did before; the row did not.
    save(watched.article, "published")
    assert watched.matched() == {"changed", "from", "to"}


@pytest.mark.django_db(transaction=True)
def test_the_same_without_a_transaction_around_it(watched):
    save(watched.article, "published")
    assert watched.matched() == {"changed", "from", "to"}
    undone(watched.article, "draft")
    save(watched.article, "draft")
    assert watched.matched() == {"changed"}


@pytest.mark.parametrize(
    ("field", "same", "other"),
    [
        ("count", "5", 6),
        ("price", "9.9", "9.91"),
        ("rating", "1.5", 1.6),
        ("at", NOON.astimezone(zoneinfo.ZoneInfo("Asia/Tokyo")), NOON + datetime.timedelta(seconds=1)),
        ("day", "2026-03-01", "2026-03-02"),
        ("span", datetime.timedelta(hours=2), datetime.timedelta(hours=3)),
        ("reference", REFERENCE.hex, uuid.UUID(int=5)),
        ("data", {"tags": ["a", 7]}, {"tags": []}),
        ("attachment", "plan.pdf", "other.pdf"),
        ("raw", b"xyz", b"zyx"),
        ("active", 1, False),
        ("address", None, "127.0.0.1"),
    ],
)
def test_fields_of_every_kind_are_compared_as_the_database_holds_them(article, count, field, same, other):
    if field == "address":
        Article.objects.filter(pk=article.pk).update(address=None)
    trigger = defined((f"instance.{field}", "changed"))
    setattr(article, field, same)
    article.save()
    assert count(trigger) == 0
    setattr(article, field, other)
    article.save()
    assert count(trigger) == 1


def test_a_foreign_key_changes(article, author, count):
    boss = author.boss
    changed, to = defined(("instance.author", "changed")), defined(("instance.author", "changed to", boss))
    gone = defined(("instance.author", "changed"), ("instance.author", "is null"))
    article.author = boss
    article.save()
    article.author = None
    article.save()
    assert [count(trigger) for trigger in (changed, to, gone)] == [2, 1, 1]


def test_pre_save_can_ask_what_changes(article, count):
    trigger = defined(("instance.status", "changed to", "published"), verb="pre_save")
    save(article, "published")
    save(article, "published")
    assert count(trigger) == 1


def test_a_childs_inherited_field_changes_for_its_parents_trigger(count):
    truck = Truck.objects.create(name="old")
    trigger = defined(("instance.name", "changed from", "old"), model=Vehicle)
    truck.name = "new"
    truck.save()
    assert count(trigger) == 1


def test_saves_within_saves_keep_their_own_before(article, count):
    other = Article.objects.create(title="other")
    from django.db.models.signals import post_save, pre_save

    def also(instance, **kwargs):
        if instance.pk == article.pk and instance.title == "first":
            instance.title = "second"
            save(instance, "draft")
            save(other, "published")

    trigger = defined(("instance.status", "changed from", "review"))
    for signal in (pre_save, post_save):
        signal.connect(also, sender=Article)
        try:
            Article.objects.filter(pk=article.pk).update(status="review")
            article.title = "first"
            save(article, "published")
        finally:
            signal.disconnect(also, sender=Article)
    assert count(trigger) >= 2
    assert not any(name.startswith("dsn_core") for name in article._state.__dict__)


def test_emit_knows_no_before(article, count):
    changed, plain = defined(("instance.status", "changed to", "review")), defined(("created", "is true"))
    emit("post_save", action_object=article, created=True)
    assert (count(changed), count(plain)) == (0, 1)


def test_what_cannot_be_read_before_is_logged_and_does_not_match(article, count, caplog, monkeypatch):
    trigger = defined(("instance.status", "changed"))
    plain = defined(("raw", "is true", False))

    class Broken(type(Article._base_manager)):
        def get_queryset(self):
            return super().get_queryset().extra(where=["nothing_such = 1"])

    broken = Broken()
    broken.model, broken.name = Article, "broken"
    with transaction.atomic():
        with monkeypatch.context() as patched:
            patched.setitem(Article._meta.__dict__, "base_manager", broken)
            article.status = "draft"
            # Not save(), which works with the same manager.
            from django.db.models.signals import post_save, pre_save

            arguments = {"instance": article, "raw": False, "using": "default", "update_fields": None}
            pre_save.send(sender=Article, **arguments)
            post_save.send(sender=Article, created=False, **arguments)
        Label.objects.create(name="still whole")
    assert (count(trigger), count(plain)) == (0, 1)
    assert "before the change cannot be read" in caplog.text


# The action of a relation


def test_the_action_can_be_a_condition(count):
    truck, label = Truck.objects.create(name="t"), Label.objects.create(name="l")
    usual = defined(verb="m2m_changed", model=Vehicle)
    actions = ("pre_add", "post_add", "pre_remove", "post_remove", "pre_clear", "post_clear")
    triggers = [defined(("action", "equals", action), verb="m2m_changed", model=Vehicle) for action in actions]
    both = defined(("action", "in", ["pre_add", "post_add"]), verb="m2m_changed", model=Vehicle)
    of_label = defined(("pk_set", "contains", label.pk), verb="m2m_changed", model=Vehicle)
    truck.labels.add(label)
    truck.labels.remove(label)
    truck.labels.clear()
    assert [count(trigger) for trigger in triggers] == [1] * 6
    assert [count(trigger) for trigger in (usual, both, of_label)] == [3, 2, 2]


def test_a_naive_moment_is_one_of_the_current_time_zone():
    with timezone.override("Europe/Berlin"):
        trigger = Trigger.objects.define(
            "post_save", action_object=Article, conditions=[("instance.at", "greater", "2026-03-01T12:00")]
        )
    assert trigger.conditions[0]["value"] == "2026-03-01T12:00:00+01:00"


def test_a_condition_is_a_row_in_each_of_its_forms():
    row = Condition.of(("a.b", " Changed  TO ", 5))
    assert row == Condition("a.b", "changed to", 5)
    assert row == Condition.of(row) == Condition.of(row.as_data()) == Condition.of(["a.b", "changed to", 5])
    assert (str(row), row.root) == ("a.b changed to 5", "a")
    with pytest.raises(ConfigurationError):
        Condition.of(("a", "b", "c", "d"))
