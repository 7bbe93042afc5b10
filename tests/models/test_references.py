"""Keys and labels as rows store them."""

from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from dsn_core import references
from tests.testapp.models import Country, FamousPlace, Movie, Restaurant, Seat, Ticket

KEY = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("instance", "text"),
    [
        (Movie(pk=5), "5"),
        (Movie(pk="5"), "5"),
        (Movie(), ""),
        (Movie(pk="unlikely"), "unlikely"),
        (Ticket(pk=KEY), str(KEY)),
        (Ticket(pk=KEY.hex.upper()), str(KEY)),
        (Country(pk="007"), "007"),
        (Country(pk="[1]"), "[1]"),
        (Seat(row="A", number=1), '["A", "1"]'),
        (Seat(row="A", number="01"), '["A", "1"]'),
        (Seat(row="A"), ""),
        (Restaurant(pk=7), "7"),
        (SimpleLazyObject(lambda: Movie(pk=5)), "5"),
    ],
)
def test_a_key_as_text(instance, text):
    assert references.pk_text(instance) == text


@pytest.mark.parametrize(
    ("model", "text", "clean"),
    [
        (Movie, "5", "5"),
        (Movie, "005", "5"),
        (Ticket, KEY.hex, str(KEY)),
        (Country, "[x", "[x"),
        (Restaurant, "7", "7"),
        (Seat, '["A", 1]', '["A", "1"]'),
        (Seat, '["A","1"]', '["A", "1"]'),
    ],
)
def test_a_typed_key_takes_the_form_that_is_compared(model, text, clean):
    assert references.clean_key(model, text) == clean


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Movie, "five"),
        (Ticket, "5"),
        (Seat, "A1"),
        (Seat, "5"),
        (Seat, "[]"),
        (Seat, '["A"]'),
        (Seat, '["A", null]'),
        (Seat, '["A", "one"]'),
        (Seat, '["A", 1, 2]'),
        (Seat, '{"A": 1}'),
        (Restaurant, "x"),
    ],
)
def test_what_can_be_no_key_is_refused(model, text):
    with pytest.raises(ValidationError, match="is not a key of"):
        references.clean_key(model, text)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=2), st.integers())
def test_a_composite_key_survives_its_own_text(row, number):
    text = references.pk_text(Seat(row=row, number=number))
    assert references.clean_key(Seat, text) == text


def test_a_model_or_an_instance_is_split_into_label_and_key():
    assert references.split(None) == ("", "")
    assert references.split(Movie) == ("testapp.movie", "")
    assert references.split(FamousPlace(pk=1)) == ("testapp.famousplace", "1")
    assert references.split(SimpleLazyObject(lambda: Movie(pk=1))) == ("testapp.movie", "1")


@pytest.mark.parametrize("subject", [Movie(), Seat(row="A"), "testapp.movie", 5, int, AnonymousUser()])
def test_what_is_neither_is_refused(subject):
    with pytest.raises(ValidationError):
        references.split(subject)


@pytest.mark.parametrize("label", ["", "movie", "testapp.gone", "gone.movie", "a.b.c"])
def test_no_model_is_found_where_there_is_none(label):
    assert references.find_model(label) is None


def test_a_model_is_found_by_its_label():
    assert references.find_model("testapp.Movie") is references.find_model("testapp.movie") is Movie
    assert references.find_model("testapp.model") is None
    assert issubclass(Movie, Model)
