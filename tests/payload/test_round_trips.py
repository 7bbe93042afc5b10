"""What goes into a payload comes out of it, or a placeholder that says why not."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import tracemalloc
import uuid
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.db import models
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from dsn_core import BaseCodec, payload
from dsn_core.contracts.activities import Activity
from dsn_core.exceptions import PayloadError
from dsn_core.models import Event, Trigger
from dsn_core.payload import sensitive
from dsn_core.payload.placeholders import HIDDEN, kind_of
from dsn_core.plugins.registry import registry
from tests.testapp.models import Movie


def is_hidden(value):
    return isinstance(value, payload.Placeholder) and kind_of(value) == HIDDEN


def trip(value):
    return payload.load("v", payload.dump(Activity("v", signal_kwargs={"it": value}))).signal_kwargs["it"]


ENVIRONMENT = {"wsgi.version", "asgi", "headers"}


def is_plain(key):
    key = key.decode("latin-1") if isinstance(key, bytes) else key
    # What has the keys of a request's environment is stored as a request.
    return not isinstance(key, str) or not (key in ENVIRONMENT or sensitive.is_sensitive(key, sensitive.Names()))


#: Any text: NUL and lone surrogates too (two that make a pair are one character, to JSON as to UTF-16).
texts = st.text(st.characters(codec=None, categories=None), max_size=20).map(
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
) | st.sampled_from(["\0", "\ud800", "$", "$codec"])
offsets = st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=20)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times(timezones=st.none() | offsets)
    | st.datetimes(timezones=st.none() | offsets)
    | st.timedeltas()
)
hashables = scalars | st.tuples(scalars, scalars)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(texts.filter(is_plain), inner, max_size=4)
        | st.dictionaries(hashables.filter(is_plain), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
@settings(max_examples=150, deadline=None)
def test_plain_values_come_back_as_they_were(value):
    found = trip(value)
    assert found == value
    assert repr(found) == repr(value) or isinstance(
        value, list | tuple | set | dict | datetime.datetime | datetime.time
    )


@given(st.recursive(st.integers(), lambda inner: st.frozensets(inner, max_size=3), max_leaves=8))
def test_sets_of_sets(value):
    assert trip({value}) == {value}


@pytest.mark.django_db
def test_every_database_holds_every_text():
    value = {"nul": "\0", "surrogate": "\udfff\ud800", "emoji": "🎬", "nan": math.inf}
    trigger = Trigger.objects.define("request_finished")
    text = payload.dump(Activity("v", signal_kwargs=value))
    Event.objects.create(trigger=trigger, verb="v", payload=text)
    assert text.isascii()
    assert Event.objects.get().signal_kwargs == value


def test_what_is_no_number():
    assert math.isnan(trip(math.nan))
    assert trip([-math.inf]) == [-math.inf]
    assert trip(decimal.Decimal("NaN")).is_nan()


def test_numbers_of_more_digits_than_python_writes_become_placeholders():
    assert trip(10**4_000) == 10**4_000
    assert "int: cannot be stored" in repr(trip(10**5_000))


class Colour(enum.Enum):
    RED = "red"


class Level(models.IntegerChoices):
    HIGH = 1


class Mode(models.TextChoices):
    FAST = "fast", "Fast"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date
    password: str | None = "secret"


class Text(str):
    __slots__ = ()


class Number(float):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, "red"),
        (Level.HIGH, 1),
        (Mode.FAST, "fast"),
        ({Mode.FAST: 1}, {"fast": 1}),
        (Point(1, datetime.date(2026, 1, 2), None), {"x": 1, "when": datetime.date(2026, 1, 2), "password": None}),
        (gettext_lazy("Yes"), "Yes"),
        (mark_safe("<b>"), "<b>"),
        (Text("x"), "x"),
        (Number(1.5), 1.5),
        (Number("inf"), math.inf),
        (SimpleLazyObject(lambda: [1, 2]), [1, 2]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (frozenset({1}), {1}),
        ({"$": 1, "$codec": "uuid"}, {"$": 1, "$codec": "uuid"}),
        ({1: "a", "b": 2, (1, 2): 3, None: 4}, {1: "a", "b": 2, (1, 2): 3, None: 4}),
        (Movie, Movie),
        # Of other classes what they are called: reading imports nothing.
        (int, "builtins.int"),
        (models.Model, "django.db.models.base.Model"),
        (Point, f"{__name__}.Point"),
    ],
)
def test_what_comes_back_plain(value, expected):
    found = trip(value)
    assert found == expected
    assert type(found) is type(expected)


def test_a_zone_comes_back_as_its_offset():
    value = datetime.datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert trip(value) == value
    assert trip(value).utcoffset() == datetime.timedelta(hours=2)


class Hostile:
    def __getattr__(self, name):
        raise ZeroDivisionError


class HostileMapping(dict):
    def items(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "object: cannot be stored"),
        ((number for number in range(3)), "generator: cannot be stored"),
        (HostileMapping(a=1), "HostileMapping: cannot be stored, ZeroDivisionError"),
    ],
)
def test_what_cannot_be_stored_is_named(value, said):
    found = trip({"inner": value, "other": 1})
    assert repr(found["inner"]) == f"<not stored: it, {said}>"
    assert isinstance(found["inner"], payload.Placeholder)
    assert found["other"] == 1


def test_a_hostile_object_is_only_named():
    assert "Hostile" in repr(trip(Hostile()))
    assert "SimpleLazyObject: cannot be stored, ZeroDivisionError" in repr(trip(SimpleLazyObject(lambda: 1 / 0)))


def test_cycles_end_and_do_not_explode():
    cycle = []
    cycle.extend([cycle, cycle, {"again": cycle}])
    assert "too large to store" in repr(trip(cycle))
    narrow = []
    narrow.append(narrow)
    assert "nested too deeply" in str(trip(narrow))
    shared = ["x" * 10]
    for _ in range(15):
        shared = [shared] * 10
    assert "too large to store" in repr(trip(shared))


def test_nesting_up_to_its_bound_survives():
    value = 1
    for _ in range(19):
        value = [value]
    assert trip(value) == value


@pytest.mark.parametrize("size", [100, 5_000])
def test_the_text_is_never_longer_than_allowed(settings, size):
    settings.DSN = {"MAX_PAYLOAD_BYTES": size}
    kwargs = {"small": 1, "big": "ü" * 4_000, "bigger": list(range(10_000)), "raw": b"x" * 3_000}
    text = payload.dump(Activity("v", signal_kwargs=kwargs, target="t" * 20_000))
    activity = payload.load("v", text)
    assert "too large to store" in repr(activity.signal_kwargs["bigger"])
    assert activity.signal_kwargs["small"] == 1
    # Part of a text is not the text.
    assert repr(activity.target).startswith("<not stored: target, str: too large")
    if size == 5_000:
        assert len(text) <= size


def test_the_names_of_the_arguments_count_too(settings):
    settings.DSN = {"MAX_PAYLOAD_BYTES": 10_000}
    kwargs = {f"{number:0>90}": "x" * 100 for number in range(60)}
    text = payload.dump(Activity("v", signal_kwargs=kwargs))
    assert len(text) <= 10_000
    assert set(payload.load("v", text).signal_kwargs) == set(kwargs)


@pytest.mark.parametrize(
    "value",
    [bytes(100_000_000), bytearray(100_000_000), memoryview(bytes(100_000_000)), [10**4_000] * 50_000],
    ids=["bytes", "bytearray", "memoryview", "numbers"],
)
def test_what_is_huge_is_not_copied_before_it_is_refused(value):
    tracemalloc.start()
    try:
        found = trip([value])
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert repr(found) == "<not stored: it, list of 1: too large to store, more than 524288 bytes>"


def test_many_items_are_no_trouble_while_they_fit():
    assert trip(set(range(3_000))) == set(range(3_000))


def test_a_part_that_is_an_argument_is_stored_once():
    movie = Movie(pk=1, name="a name that stands there once")
    kwargs = {"movie": movie, "again": movie, "none": None}
    activity = Activity("v", action_object=movie, actor_object=movie, sender=Movie, signal_kwargs=kwargs)
    text = payload.dump(activity)
    assert text.count(movie.name) == 1
    found = payload.load("v", text)
    assert found.action_object is found.actor_object is found.signal_kwargs["movie"] is found.signal_kwargs["again"]
    assert found.sender is Movie
    assert payload.load("v", payload.dump(Activity("v", Movie, sender=Movie))).action_object is Movie


def test_an_object_that_is_a_secret_too_is_stored_where_it_is_none():
    shared = ["x"]
    found = payload.load(
        "v", payload.dump(Activity("v", signal_kwargs={"password": shared, "it": shared, "again": shared}))
    ).signal_kwargs
    assert is_hidden(found.pop("password"))
    assert found == {"it": ["x"], "again": ["x"]}


@pytest.mark.parametrize("name", ["password", "Password", "new_password1", "raw_password", "user__password", "token"])
def test_sensitive_arguments_and_keys_are_blank(settings, name):
    settings.DSN = {"SENSITIVE_FIELDS": ["token"]}
    kwargs = {name: "s3cret", "data": {name: "s3cret", "deep": [{name: ["s3cret"]}]}, "point": Point(1, None, "s3cret")}
    text = payload.dump(Activity("v", signal_kwargs=kwargs))
    assert "s3cret" not in text
    found = payload.load("v", text).signal_kwargs
    for blank in (found[name], found["data"][name], found["data"]["deep"][0][name], found["point"]["password"]):
        assert is_hidden(blank)


class Credentials(NamedTuple):
    user: str
    Password: str


def test_a_sensitive_field_of_a_named_tuple_is_blank():
    kwargs = {"it": [Credentials("ann", "s3cret")], "other": collections.namedtuple("Other", "password")("s3cret")}
    text = payload.dump(Activity("v", signal_kwargs=kwargs))
    assert "s3cret" not in text
    found = payload.load("v", text).signal_kwargs
    ((user, password),) = found["it"]
    assert user == "ann"
    assert is_hidden(password)
    assert is_hidden(found["other"][0])


@pytest.mark.parametrize(
    "value",
    [
        {
            "wsgi.version": (1, 0),
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/x",
            "REMOTE_ADDR": "::1",
            "HTTP_COOKIE": "s3cret",
        },
        {"asgi": {}, "method": "GET", "path": "/x", "client": ["::1", 5], "headers": [(b"cookie", b"s3cret")]},
    ],
)
def test_of_a_server_s_request_only_harmless_things_are_stored(value):
    assert trip(value) == {"method": "GET", "path": "/x", "address": "::1"}


class Money:
    def __init__(self, amount):
        self.amount = amount


class MoneyCodec(BaseCodec):
    # The name of a kind of ours: no trouble.
    name = "set"
    python_type = Money

    def encode(self, value):
        return value.amount

    def decode(self, data):
        return Money(data)


def test_a_plugins_codec_is_used_and_asked_for_when_it_is_gone(dsn):
    plugin = dsn.add(MoneyCodec)
    text = payload.dump(Activity("v", signal_kwargs={"it": [Money("1.50")], "set": {1}}))
    found = payload.load("v", text).signal_kwargs
    assert (found["it"][0].amount, found["set"]) == ("1.50", {1})
    registry.remove(plugin)
    dsn._plugins.remove(plugin)
    with pytest.raises(PayloadError, match="not installed"):
        payload.load("v", text)


def test_a_codec_that_cannot_read_is_named(dsn):
    class Forgetful(MoneyCodec):
        name = "forgetful"

        def decode(self, data):
            raise ZeroDivisionError("what was it?")

    dsn.add(Forgetful)
    text = payload.dump(Activity("v", signal_kwargs={"it": Money("1.50")}))
    with pytest.raises(PayloadError, match="The codec 'forgetful' cannot decode the stored value") as raised:
        payload.load("v", text)
    assert "ZeroDivisionError: what was it? (tests/payload/test_round_trips.py:" in str(raised.value)


def test_a_codecs_data_that_is_no_json_is_a_placeholder(dsn, caplog, monkeypatch):
    monkeypatch.setattr("dsn_core.payload.pieces._logged", set())
    dsn.add(MoneyCodec)
    for _ in range(3):
        assert "Money: cannot be stored, TypeError" in repr(trip([Money(object()), 1])[0])
    (record,) = [item for item in caplog.records if "Money cannot be stored" in item.getMessage()]
    assert record.exc_info, "the author of the codec sees where it comes from, once"


@pytest.mark.parametrize(
    "text",
    ["nonsense", "[]", "{}", '{"kwargs": {"a": {"$": "no such kind"}}}', '{"kwargs": {"a": {"$": "model"}}}'],
)
def test_a_damaged_payload_says_so(text):
    with pytest.raises(PayloadError, match="cannot be read"):
        payload.load("v", text)


def test_a_payload_that_was_purged_says_so():
    with pytest.raises(PayloadError, match="was purged"):
        payload.load("v", "")


def test_reading_imports_nothing_that_the_text_names():
    for value in ({"$": "model", "v": "os.path"}, {"$": "instance", "model": "gone.model", "v": {}}):
        with pytest.raises(PayloadError, match="does not have"):
            payload.load("v", json.dumps({"kwargs": {"a": value}, "sender": None}))


def test_the_format_that_rows_hold():
    """Rows outlive releases: what is written today must be read by all later versions."""
    text = (
        '{"kwargs":{"u":{"$codec":"uuid","v":"12345678-1234-5678-1234-567812345678"},'
        '"b":{"$codec":"bytes","v":"' + base64.b64encode(b"x").decode() + '"},'
        '"s":{"$":"set","v":[1]},"t":{"$":"tuple","v":[1]},'
        '"d":{"$":"dict","v":[[1,2]]},"f":{"$":"float","v":"inf"},'
        '"m":{"$":"model","v":"testapp.movie"},"p":{"$":"placeholder","v":"object: cannot be stored"}},'
        '"sender":null,"action_object":{"$":"argument","v":"u"},"actor_object":{"$":"sender"},"target":""}'
    )
    found = payload.load("v", text)
    assert repr(found.signal_kwargs.pop("p")) == "<not stored: p, object: cannot be stored>"
    assert found.signal_kwargs == {
        "u": uuid.UUID("12345678123456781234567812345678"),
        "b": b"x",
        "s": {1},
        "t": (1,),
        "d": {1: 2},
        "f": math.inf,
        "m": Movie,
    }
    assert payload.load("v", payload.dump(found)) == found
