"""Model instances as they were when the signal fired."""

from __future__ import annotations

import copy
import enum
import pickle
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F
from django.template import Context, Template
from django.test.utils import isolate_apps

from dsn_core import payload
from dsn_core.contracts.activities import Activity
from dsn_core.exceptions import NotStored, PayloadError, SnapshotError
from dsn_core.payload import sensitive, snapshots
from dsn_core.payload.placeholders import HIDDEN, kind_of
from tests.testapp.models import Country, FamousPlace, Movie, Place, Restaurant, Seat, TestModel1, Ticket

pytestmark = pytest.mark.django_db


@pytest.fixture
def call_sensitive(monkeypatch):
    """Let a model name fields in ``dsn_sensitive_fields``, as its class would."""

    def name(model, fields):
        monkeypatch.setattr(model, "dsn_sensitive_fields", fields, raising=False)
        sensitive.attnames.cache_clear()

    yield name
    monkeypatch.undo()
    sensitive.attnames.cache_clear()


def text_of(value):
    return payload.dump(Activity("v", signal_kwargs={"it": value}))


def read(text):
    return payload.load("v", text).signal_kwargs["it"]


@pytest.fixture
def trip(django_assert_num_queries):
    def make(value):
        with django_assert_num_queries(0):
            return read(text_of(value))

    return make


def is_hidden(value):
    return isinstance(value, payload.Placeholder) and kind_of(value) == HIDDEN


def fields(instance):
    values = {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}
    return {name: value for name, value in values.items() if name != "password"}


def test_every_shape_of_model_comes_back_without_a_query(trip):
    movie = Movie.objects.create(name="M")
    for instance in (
        movie,
        Restaurant.objects.create(name="here", stars=3),
        FamousPlace.objects.create(name="there"),
        Ticket.objects.create(movie=movie, price=Decimal("1.50")),
        Seat.objects.create(row="A", number=1),
        Country(code="de"),
    ):
        found = trip(instance)
        assert found.__class__ is instance.__class__
        assert isinstance(found, type(instance))
        assert found == instance
        assert fields(found) == fields(instance)
        assert found._state.adding is False


def test_a_later_edit_or_delete_does_not_change_it(trip):
    movie = Movie.objects.create(name="before")
    text = text_of(movie)
    Movie.objects.update(name="after")
    assert read(text).name == "before"
    movie.delete()
    assert read(text).name == "before"


def test_foreign_keys_can_be_followed(trip, django_assert_num_queries):
    ticket = Ticket.objects.create(movie=Movie.objects.create(name="M"))
    found = trip(ticket)
    with django_assert_num_queries(1):
        assert found.movie.name == "M"
    assert list(found.movie.tickets.all()) == [ticket]


def test_what_was_not_loaded_is_not_loaded_for_it(trip):
    Movie.objects.create(name="M")
    found = trip(Movie.objects.only("pk").get())
    assert found.get_deferred_fields() == {"name"}


def test_an_expression_is_read_when_somebody_asks(trip):
    restaurant = Restaurant.objects.create(name="M", stars=1)
    restaurant.stars = F("stars") + 1
    text = text_of(restaurant)
    restaurant.save()
    assert read(text).stars == 2


@pytest.mark.parametrize("read_as", [lambda rows: rows.get(), lambda rows: rows.only("username").get()])
def test_a_password_is_blank_and_never_read_from_the_database(read_as, django_assert_num_queries):
    get_user_model().objects.create_user("ann", password="secret")
    text = text_of(read_as(get_user_model().objects))
    assert "md5" not in text
    found = read(text)
    with django_assert_num_queries(0):
        assert is_hidden(found.password)
        assert found.username == "ann"


def test_a_field_that_became_sensitive_since_is_blank(settings, django_assert_num_queries):
    text = text_of(Movie.objects.create(name="a secret"))
    settings.DSN = {"SENSITIVE_FIELDS": ["Name"]}
    with django_assert_num_queries(0):
        assert is_hidden(read(text).name)


def test_a_model_names_its_own_sensitive_fields(call_sensitive, trip):
    call_sensitive(Ticket, ["price", "movie"])
    ticket = Ticket.objects.create(movie=Movie.objects.create(name="M"), price=Decimal("9.99"))
    text = text_of(ticket)
    assert "9.99" not in text
    assert is_hidden(read(text).price)
    assert is_hidden(read(text).movie_id)
    with pytest.raises(NotStored, match=r"'testapp.Ticket.movie_id' was not stored"):
        _ = read(text).movie


def test_a_sensitive_field_may_be_named_by_its_column(call_sensitive, trip):
    call_sensitive(Ticket, "movie_id")
    assert is_hidden(trip(Ticket.objects.create(movie=Movie.objects.create(name="M"))).movie_id)


def test_a_subclass_adds_to_what_its_base_calls_sensitive(call_sensitive, trip):
    call_sensitive(Place, ["name"])
    call_sensitive(Restaurant, ["stars"])
    restaurant = Restaurant.objects.create(name="a secret", stars=3)
    assert "a secret" not in text_of(restaurant)
    assert is_hidden(trip(restaurant).name)
    assert is_hidden(trip(restaurant).stars)
    assert is_hidden(trip(FamousPlace.objects.create(name="a secret")).name)


@pytest.mark.parametrize(
    "select",
    [
        lambda users: users.values("username", "password"),
        lambda users: users.values_list("username", "password"),
        lambda users: users.values_list("username", "password", named=True),
        lambda users: users.values_list("password", flat=True),
        lambda users: users.values_list(),
        lambda users: users.values(),
        lambda users: users.values(hash=F("password")),
        lambda users: Movie.objects.values_list("name", "audiences__password"),
    ],
)
def test_rows_of_a_query_hold_no_password(select, django_user_model):
    Movie.objects.create(name="ann").audiences.add(django_user_model.objects.create_user("ann", password="secret"))
    text = text_of({"rows": select(django_user_model.objects.all())})
    assert "md5" not in text
    (row,) = read(text)["rows"]
    values = list(row.values() if isinstance(row, dict) else row if isinstance(row, tuple) else [row])
    assert sum(map(is_hidden, values)) == 1
    if len(values) > 1:
        assert any(not is_hidden(value) and value == "ann" for value in values)


def test_rows_of_a_query_hold_no_field_that_its_model_calls_sensitive(call_sensitive):
    call_sensitive(Movie, ["name"])
    Ticket.objects.create(movie=Movie.objects.create(name="a secret"), price=2)
    text = text_of(Ticket.objects.values_list("price", "movie__name", "movie__id"))
    assert "a secret" not in text
    ((price, name, movie),) = read(text)
    assert (price, movie) == (2, Movie.objects.get().pk)
    assert is_hidden(name)


def test_a_rebuilt_instance_refuses_to_write(trip):
    movie = Movie.objects.create(name="M")
    found = trip(movie)
    for write in (
        found.save,
        found.delete,
        found.save_base,
        async_to_sync(found.asave),
        async_to_sync(found.adelete),
        lambda: Movie.save(found),
        copy.copy(found).save,
        pickle.loads(pickle.dumps(found)).delete,  # noqa: S301 (we wrote it)
    ):
        with pytest.raises(SnapshotError, match="Read the object again"):
            write()
    assert Movie.objects.get() == movie


def test_a_template_that_names_a_writing_method_calls_nothing(trip):
    found = trip(Movie.objects.create(name="M"))
    assert Template("{{ it.name }}{{ it.delete }}{{ it.save }}").render(Context({"it": found})) == "M"


def test_a_save_of_the_model_s_own_is_refused_as_well(trip, monkeypatch):
    def publish(self):
        self.name = "published"
        self.save()

    monkeypatch.setattr(Movie, "publish", publish, raising=False)
    with pytest.raises(SnapshotError):
        trip(Movie.objects.create(name="M")).publish()


@isolate_apps("tests.testapp")
def test_fields_of_every_type(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = str(tmp_path)

    class Cents:
        def __init__(self, value):
            self.value = value

        def __eq__(self, other):
            return self.value == other.value

        __hash__ = None

    class CentsField(models.IntegerField):
        def to_python(self, value):
            return Cents(int(value))

        def get_prep_value(self, value):
            return value.value

    class Everything(models.Model):  # noqa: DJ008
        binary = models.BinaryField()
        data = models.JSONField()
        file = models.FileField()
        image = models.FileField(blank=True)
        duration = models.DurationField(null=True)
        address = models.GenericIPAddressField()
        cents = CentsField()
        float = models.FloatField()

        class Meta:
            app_label = "testapp"

    monkeypatch.setattr(snapshots, "is_known", lambda label: True)
    monkeypatch.setattr(snapshots, "find_model", lambda label: Everything)
    instance = Everything(
        pk=1,
        binary=memoryview(b"\0\xff"),
        data={"a": [1, {"$": 2, "password": "secret"}], "deep": [[[[[[[[[[[["x"]]]]]]]]]]]]},
        file="a/b.txt",
        address="::1",
        cents=Cents(150),
        float=float("inf"),
    )
    found = read(text_of(instance))
    assert (found.binary, found.file.name, found.image.name, found.duration) == (b"\0\xff", "a/b.txt", "", None)
    assert is_hidden(found.data["a"][1].pop("password"))
    assert found.data == {"a": [1, {"$": 2}], "deep": [[[[[[[[[[[["x"]]]]]]]]]]]]}
    assert (found.address, found.cents, found.float) == ("::1", Cents(150), float("inf"))


def test_an_instance_that_holds_itself_comes_to_an_end():
    movie = Movie(pk=1)
    movie.name = {"movie": [movie] * 10}
    text = text_of(movie)
    assert len(text) < 530_000
    found = read(text)
    assert found.pk == 1
    assert len(found.name["movie"]) == 10
    assert "too large to store" in text


@pytest.mark.parametrize("text", ["x" * 5_000, "\u0436" * 1_000], ids=["ascii", "escaped"])
def test_a_very_long_column_costs_the_instance_neither_its_key_nor_the_others(settings, text):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 4_000}
    found = read(text_of(TestModel1(pk=5, name=text, extra_field="short")))
    assert isinstance(found, TestModel1)
    assert (found.pk, found.extra_field) == (5, "short")
    assert "<not stored: it.name, str: too large to store, more than the" in repr(found.name)


@pytest.mark.parametrize(
    "value",
    [{"rows": list(range(5_000))}, b"x" * 5_000, memoryview(b"x" * 5_000), [["deep"] * 50] * 50],
    ids=["json", "bytes", "memoryview", "nested"],
)
def test_nor_does_a_column_of_another_type(settings, value):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 4_000}
    found = read(text_of(TestModel1(pk=5, name=value, extra_field="short")))
    assert (found.pk, found.extra_field) == (5, "short")
    assert "too large to store" in repr(found.name)
    assert type(value).__name__ in repr(found.name)


def test_an_instance_that_is_too_large_beside_the_other_arguments_keeps_its_key(settings):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 4_000}
    one, other = (TestModel1(pk=pk, name="x" * 990, extra_field="x" * 990) for pk in (5, 6))
    text = payload.dump(Activity("v", action_object=one, signal_kwargs={"it": one, "other": other, "more": "y" * 500}))
    found = payload.load("v", text)
    assert len(text) <= 4_000
    assert [(item.__class__, item.pk) for item in (found.action_object, found.signal_kwargs["other"])] == [
        (TestModel1, 5),
        (TestModel1, 6),
    ]
    assert found.signal_kwargs["more"] == "y" * 500


def test_a_long_column_that_fits_is_stored_whole(settings):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 4_000}
    assert read(text_of(Movie(pk=5, name="x" * 900))).name == "x" * 900


@isolate_apps("tests.testapp")
def test_an_instance_of_an_unknown_model_is_named():
    class Stranger(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "testapp"

    assert "Stranger: cannot be stored" in repr(read(text_of(Stranger(pk=1))))
    assert read(text_of(Stranger)).endswith(".Stranger")


def test_querysets_come_back_as_the_rows_they_had(django_assert_num_queries):
    places = [Place.objects.create(name=name) for name in "ab"]
    with django_assert_num_queries(1):
        text = text_of(Place.objects.filter(name="a"))
    places[0].delete()
    Place.objects.create(name="a")
    with django_assert_num_queries(0):
        rows = read(text)
    assert list(rows) == []
    assert list(read(text_of(Place.objects.order_by("name")[:1]))) == list(Place.objects.filter(name="a"))
    assert read(text_of(Place.objects.values_list("name", flat=True).order_by("name"))) == ["a", "b"]


def test_the_rows_of_a_relation(django_user_model):
    movie = Movie.objects.create(name="M")
    ann = django_user_model.objects.create(username="ann")
    movie.audiences.add(ann)
    text = text_of(movie.audiences)
    movie.audiences.clear()
    assert list(read(text)) == [ann]


def test_querysets_of_composite_keys():
    seat = Seat.objects.create(row="A", number=1)
    Seat.objects.create(row="B", number=1)
    assert list(read(text_of(Seat.objects.filter(row="A")))) == [seat]


def test_a_queryset_that_was_read_is_stored_as_it_was_read(django_assert_num_queries):
    Place.objects.create(name="a")
    places = Place.objects.all()
    assert len(places) == 1
    second = Place.objects.create(name="b")
    with django_assert_num_queries(0):
        text = text_of(places)
    assert second not in read(text)
    assert len(read(text)) == 1


def test_a_queryset_is_whole_or_a_placeholder(django_assert_num_queries):
    Place.objects.bulk_create([Place(name=str(number)) for number in range(10_001)])
    with django_assert_num_queries(1):
        found = read(text_of(Place.objects.all()))
    assert repr(found) == "<not stored: it, QuerySet: more than 10000 rows are too many to store>"
    assert len(read(text_of(Place.objects.all()[:10_000]))) == 10_000


@pytest.mark.parametrize("model", [Place, Ticket, Seat])
def test_ten_thousand_keys_fit_as_a_queryset_and_as_a_list(model):
    movie = Movie.objects.create(name="M")
    make = {
        Place: lambda number: Place(name="x" * 50),
        Ticket: lambda number: Ticket(movie=movie, price=number % 9_999),
        Seat: lambda number: Seat(row="ab", number=number),
    }[model]
    instances = model.objects.bulk_create([make(number) for number in range(10_000)])
    assert len(read(text_of(model.objects.all()))) == 10_000
    mixed = instances[::-1]
    for given in (mixed, tuple(mixed)):
        text = text_of(given)
        assert "placeholder" not in text
        found = read(text)
        assert [item.pk for item in found] == [item.pk for item in mixed]
        assert len(found) == 10_000


def test_a_list_of_instances_that_fits_is_stored_whole_and_another_by_its_keys(settings, django_assert_num_queries):
    places = [Place.objects.create(name=name * 20) for name in "abcdefgh"]
    before = read(text_of(places))
    Place.objects.update(name="renamed")
    assert [place.name[0] for place in before] == list("abcdefgh")
    settings.DSN = {"MAX_PAYLOAD_BYTES": 400}
    text = text_of(places)
    places.pop(2).delete()
    with django_assert_num_queries(0):
        found = read(text)
    with django_assert_num_queries(1):
        assert list(found) == places
        assert (len(found), found[0].name, found[1:2]) == (7, "renamed", [places[1]])


def test_a_list_by_its_keys_of_which_no_row_is_left_is_no_empty_list(settings):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 400}
    text = text_of([Place.objects.create(name=name * 20) for name in "abcdefgh"])
    Place.objects.all().delete()
    with pytest.raises(
        NotStored, match=r"a list of 8 testapp\.Place by their keys.*none of these rows exists any more"
    ):
        list(read(text))


@pytest.mark.parametrize("odd", [lambda: Place(name="new"), lambda: Movie.objects.create(name="x"), lambda: 1])
def test_a_list_that_has_no_keys_is_a_placeholder(settings, odd):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 400}
    text = text_of([odd(), *(Place.objects.create(name=name * 20) for name in "abcdefgh")])
    assert "list of 9: too large to store" in repr(read(text))


def test_a_list_that_does_not_fit_beside_the_others_is_stored_by_its_keys(settings):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 2_000}
    places = [Place.objects.create(name=name * 20) for name in "abcdefgh"]
    text = payload.dump(Activity("v", signal_kwargs={"it": places, "text": "x" * 1_500}))
    found = payload.load("v", text).signal_kwargs
    assert (list(found["it"]), found["text"]) == (places, "x" * 1_500)


@isolate_apps("tests.testapp")
def test_an_image_is_not_opened(settings, tmp_path, monkeypatch):
    """Django opens the file of an image whose size it does not know, whenever an instance is made."""
    settings.MEDIA_ROOT = str(tmp_path)

    class Poster(models.Model):  # noqa: DJ008
        image = models.ImageField(width_field="width", height_field="height")
        width = models.IntegerField(null=True)
        height = models.IntegerField(null=True)

        class Meta:
            app_label = "testapp"

    monkeypatch.setattr(snapshots, "is_known", lambda label: True)
    monkeypatch.setattr(snapshots, "find_model", lambda label: Poster)
    poster = Poster(pk=1)
    poster.__dict__["image"] = "posters/deleted.png"
    found = read(text_of(poster))
    assert (found.image.name, found.image.url, found.width) == ("posters/deleted.png", "/posters/deleted.png", None)
    assert not found.get_deferred_fields()


@isolate_apps("tests.testapp")
def test_an_enum_of_a_field_of_its_own_type_comes_back_as_the_enum(monkeypatch):
    class Mood(enum.Enum):
        GOOD = "good"

    class MoodField(models.CharField):
        def to_python(self, value):
            return Mood(value)

        def get_prep_value(self, value):
            return value.value

    class Day(models.Model):  # noqa: DJ008
        mood = MoodField(max_length=10)

        class Meta:
            app_label = "testapp"

    monkeypatch.setattr(snapshots, "is_known", lambda label: True)
    monkeypatch.setattr(snapshots, "find_model", lambda label: Day)
    assert read(text_of(Day(pk=1, mood=Mood.GOOD))).mood is Mood.GOOD


@isolate_apps("tests.testapp")
def test_generic_relations_and_properties_work(monkeypatch, django_assert_num_queries):
    class Note(models.Model):  # noqa: DJ008
        content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
        object_id = models.PositiveIntegerField()
        about = GenericForeignKey()
        text = models.CharField(max_length=10)

        class Meta:
            app_label = "testapp"

        @property
        def shouted(self):
            return self.text.upper()

    movie = Movie.objects.create(name="M")
    monkeypatch.setattr(snapshots, "is_known", lambda label: True)
    real = snapshots.find_model
    monkeypatch.setattr(snapshots, "find_model", lambda label: Note if label == "testapp.note" else real(label))
    note = Note(pk=1, about=movie, text="loud")
    with django_assert_num_queries(0):
        found = read(text_of(note))
        assert found.shouted == "LOUD"
    assert found.about == movie


@isolate_apps("tests.testapp")
def test_a_model_that_cannot_be_made_again_says_why(monkeypatch):
    class Moody(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "testapp"

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if tired:
                raise ZeroDivisionError("not today")

    tired = []
    monkeypatch.setattr(snapshots, "is_known", lambda label: True)
    monkeypatch.setattr(snapshots, "find_model", lambda label: Moody)
    text = text_of(Moody(pk=1))
    assert read(text).pk == 1
    tired.append(1)
    with pytest.raises(PayloadError, match=r"its __init__ .* raised ZeroDivisionError: not today"):
        read(text)


def test_what_a_rebuilt_instance_leads_to_is_the_present(trip):
    """Only the instance itself is of the past: what is read through it can be written, as anywhere."""
    movie = Movie.objects.create(name="M")
    ticket = Ticket.objects.create(movie=movie)
    found = trip(ticket)
    found.movie.name = "renamed"
    found.movie.save()
    assert Movie.objects.get().name == "renamed"
    assert Ticket.objects.filter(pk=found.pk).update(price=3) == 1
    found.refresh_from_db()
    assert found.price == 3
    with pytest.raises(SnapshotError):
        found.save()
