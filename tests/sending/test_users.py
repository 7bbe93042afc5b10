"""The users of a batch are those that Django itself would load, for less."""

from __future__ import annotations

import copy
import pickle
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AbstractUser, Group, User
from django.db import connection, models
from django.db.models import signals
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils import timezone

from dsn_core._django import is_made_by_storing
from dsn_core.sending.addresses import users_by_key
from tests.shapes.models import Article, Author
from tests.testapp.models import Profile

USING = connection.alias


class Row(models.Model):
    class Meta:
        abstract = True
        app_label = "testapp"

    def __str__(self) -> str:
        return str(self.pk)


def load(model: Any, keys: Any, *paths: str) -> tuple[dict[Any, Any], list[str]]:
    """The users, and the statements that it took."""
    with CaptureQueriesContext(connection) as queries:
        found = users_by_key(model._base_manager.using(USING), keys, paths)
    return found, [query["sql"] for query in queries]


@pytest.fixture
def made(transactional_db: None) -> Iterator[Callable[[type[models.Model]], Any]]:
    """Makes the table of a model for the time of a test."""
    tables: list[type[models.Model]] = []

    def make(model: type[models.Model]) -> Any:
        with connection.schema_editor() as editor:
            editor.create_model(model)
        tables.append(model)
        return model

    yield make
    for model in reversed(tables):
        with connection.schema_editor() as editor:
            editor.delete_model(model)


@pytest.fixture
def crowd(db: None) -> list[User]:
    users = User.objects.bulk_create(
        User(username=f"u{n}", email=f"u{n}@example.org", last_login=timezone.now() if n % 2 else None)
        for n in range(40)
    )
    return list(User.objects.filter(username__in=[user.username for user in users]).order_by("pk"))


def is_the_same(ours: Any, theirs: Any) -> bool:
    """Whether two instances hold the same values of the same types, and come from the same place."""
    held, states = [vars(item).copy() for item in (ours, theirs)], []
    for item in held:
        state = item.pop("_state")
        states.append((state.db, state.adding, state.fields_cache))
    types = [{name: type(value) for name, value in item.items()} for item in held]
    return type(ours) is type(theirs) and held[0] == held[1] and types[0] == types[1] and states[0] == states[1]


def test_they_are_as_django_loads_them(crowd: list[User]) -> None:
    found, _ = load(User, [user.pk for user in crowd], "email", "")
    assert len(found) == len(crowd)
    assert all(is_the_same(found[user.pk], User._base_manager.get(pk=user.pk)) for user in crowd)


def test_fields_of_every_kind_are_as_django_loads_them(db: None) -> None:
    author = Author.objects.create(name="ann", code="a")
    article = Article.objects.create(
        title="t", author=author, editor=author, at=timezone.now(), attachment="a/b.txt", data={"a": [1]}, raw=b"\0\1"
    )
    found, _ = load(Article, [article.pk])
    assert is_made_by_storing(Article)
    assert is_the_same(found[article.pk], Article._base_manager.get(pk=article.pk))
    assert found[article.pk].attachment.name == "a/b.txt"
    assert found[article.pk].editor == author


def test_they_can_be_used_as_any_user(crowd: list[User]) -> None:
    found, _ = load(User, [crowd[0].pk])
    user = found[crowd[0].pk]
    group = Group.objects.create(name="staff")
    user.groups.add(group)
    assert list(user.groups.all()) == [group]
    assert user.get_full_name() == ""
    user.first_name = "Ann"
    user.save()
    user.refresh_from_db()
    assert pickle.loads(pickle.dumps(user)).first_name == copy.copy(user).first_name == "Ann"  # noqa: S301
    assert User.objects.get(pk=user.pk) == user
    assert User.objects.count() == len(crowd)


def test_however_many_they_are_it_is_one_query(db: None) -> None:
    User.objects.bulk_create(User(username=f"u{n}") for n in range(1_200))
    keys = list(User.objects.values_list("pk", flat=True))
    for number in (1, 100, 1_200):
        found, queries = load(User, keys[:number])
        assert (len(found), len(queries)) == (number, 1)


def test_no_keys_are_no_query(db: None) -> None:
    assert load(User, []) == ({}, [])


def test_users_that_were_deleted_are_not_there(crowd: list[User]) -> None:
    gone, kept = crowd[:2]
    key = gone.pk
    gone.delete()
    found, _ = load(User, [key, kept.pk, key])
    assert list(found) == [kept.pk]


def test_listeners_of_the_user_model_hear_of_each_user(crowd: list[User]) -> None:
    heard: list[Any] = []

    def listen(sender: Any, **kwargs: Any) -> None:
        heard.append(kwargs.get("instance", sender))

    keys = [user.pk for user in crowd[:3]]
    for signal, sender in ((signals.post_init, User), (signals.pre_init, User), (signals.post_init, None)):
        heard.clear()
        signal.connect(listen, sender=sender)
        try:
            found, _ = load(User, keys)
        finally:
            signal.disconnect(listen, sender=sender)
        assert len(heard) == len(found) == 3
    # And when nothing listens any more, nothing is called.
    heard.clear()
    load(User, keys)
    assert heard == []


def test_what_a_path_leads_through_comes_with_the_same_query(crowd: list[User]) -> None:
    Profile.objects.create(user=crowd[0], phone="+1", language="de")
    found, queries = load(User, [user.pk for user in crowd[:2]], "profile.language", "", "email")
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as later:
        assert found[crowd[0].pk].profile.language == "de"
        assert not hasattr(found[crowd[1].pk], "profile")
    assert len(later) == 0


@isolate_apps("tests.testapp")
def test_keys_that_are_no_numbers(made: Callable[..., Any]) -> None:
    class Person(Row):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        name = models.CharField(max_length=40)

    made(Person)
    people = [Person.objects.create(name=f"p{number}") for number in range(5)]
    found, queries = load(Person, [person.pk for person in people] + [uuid.uuid4()])
    assert len(queries) == 1
    assert {key: user.name for key, user in found.items()} == {person.pk: person.name for person in people}


@isolate_apps("tests.testapp")
def test_more_keys_that_are_no_numbers_than_a_statement_can_have_parameters(made: Callable[..., Any]) -> None:
    class Person(Row):
        code = models.CharField(max_length=20, primary_key=True)

    made(Person)
    limit = connection.features.max_query_params or 1_000
    Person.objects.bulk_create(Person(code=f"p{number}") for number in range(limit + 1))
    found, queries = load(Person, [f"p{number}" for number in range(limit + 1)])
    assert len(found) == limit + 1
    assert len(queries) == (2 if connection.features.max_query_params else 1)


@isolate_apps("tests.testapp")
def test_a_child_of_another_model_has_the_columns_of_both(made: Callable[..., Any]) -> None:
    class Person(Row):
        name = models.CharField(max_length=40)

    class Member(Person):
        number = models.IntegerField()

    made(Person)
    made(Member)
    ann = Member.objects.create(name="ann", number=7)
    found, queries = load(Member, [ann.pk])
    assert len(queries) == 1
    assert is_made_by_storing(Member)
    with CaptureQueriesContext(connection) as later:
        user = found[ann.pk]
        assert (user.name, user.number, user.person_ptr_id, user.get_deferred_fields()) == ("ann", 7, ann.pk, set())
    assert len(later) == 0


@isolate_apps("tests.testapp")
def test_what_a_model_does_when_it_is_made_is_done(made: Callable[..., Any]) -> None:
    class Upper:
        """As fields of third parties have: converts what is stored."""

        def __init__(self, field: Any) -> None:
            self.field = field

        def __set__(self, instance: Any, value: Any) -> None:
            instance.__dict__["name"] = value.upper()

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            return self if instance is None else instance.__dict__["name"]

    class UpperField(models.CharField):  # type: ignore[type-arg]
        descriptor_class = Upper

    class Base(Row):
        name = models.CharField(max_length=40)

        class Meta(Row.Meta):
            abstract = True

    class Greeting(Base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.seen = f"init {self.name}"

    class Reading(Base):
        @classmethod
        def from_db(cls, *args: Any, **kwargs: Any) -> Any:
            made = super().from_db(*args, **kwargs)
            made.seen = f"from_db {made.name}"
            return made

    class Storing(Base):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "name":
                super().__setattr__("seen", f"set {value}")

    class Behind:
        def __init__(self) -> None:
            self.seen = "behind"

    class Mixed(Row, Behind):
        name = models.CharField(max_length=40)

    class Shouting(Row):
        name = UpperField(max_length=40)

        @property
        def seen(self) -> str:
            return self.name

    for model, seen in (
        (Greeting, "init ann"),
        (Reading, "from_db ann"),
        (Storing, "set ann"),
        (Mixed, "behind"),
        (Shouting, "ANN"),
    ):
        made(model)
        model._base_manager.bulk_create([model(name="ann")])
        model._base_manager.update(name="ann")
        (user,) = load(model, list(model._base_manager.values_list("pk", flat=True)))[0].values()
        assert user.seen == seen
        assert not is_made_by_storing(model)


@isolate_apps("tests.testapp")
def test_a_base_manager_of_the_project_s_own_is_asked(made: Callable[..., Any]) -> None:
    class Kept(models.Manager):  # type: ignore[type-arg]
        def get_queryset(self) -> Any:
            return super().get_queryset().filter(is_gone=False).annotate(twice=models.F("number") * 2)

    class Person(Row):
        number = models.IntegerField()
        is_gone = models.BooleanField(default=False)
        objects = Kept()

        class Meta(Row.Meta):
            base_manager_name = "objects"

    made(Person)
    ann, bob = Person.objects.create(number=2), Person.objects.create(number=3, is_gone=True)
    found, _ = load(Person, [ann.pk, bob.pk])
    assert {key: user.twice for key, user in found.items()} == {ann.pk: 4}


@isolate_apps("tests.testapp", "django.contrib.auth", "django.contrib.contenttypes")
def test_an_ordinary_user_model_of_a_project_is_made_by_storing() -> None:
    class Person(AbstractUser):
        portrait = models.FileField()
        boss = models.ForeignKey("self", null=True, on_delete=models.CASCADE)
        groups = user_permissions = None  # type: ignore[assignment]

        class Meta(Row.Meta):
            pass

        def greeting(self) -> str:
            return f"Dear {self.username}"

    class Proxy(Person):
        class Meta(Row.Meta):
            proxy = True

    assert is_made_by_storing(Person)
    assert is_made_by_storing(Proxy)
