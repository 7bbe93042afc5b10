"""Options of messengers, and paths."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import pytest

from dsn_core import Options, secret
from dsn_core.contracts.paths import follow, walk
from dsn_core.exceptions import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class BotOptions(Options):
    TOKEN: str = secret()
    KEYS: Mapping[str, str] = secret(default=None)
    MODE: Literal["html", "plain"] = "html"
    RETRIES: int = 3
    NAMES: list[str] = field(default_factory=list)
    LIMIT: int | None = None


def test_all_that_is_wrong_is_said_at_once_and_no_value_is_shown() -> None:
    problems = BotOptions.problems(
        {"TOKENS": "canary", "RETRIES": "canary", "MODE": "canary", "LIMIT": None, "TIMEOUT": 5}
    )
    assert problems == [
        "TOKENS is not an option (did you mean 'TOKEN'?)",
        "TOKEN is missing",
        "MODE must be one of 'html', 'plain', not str",
        "RETRIES must be int, not str",
    ]
    with pytest.raises(ConfigurationError, match="TOKEN is missing"):
        BotOptions.from_mapping({})


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_time_out_is_required(timeout: float) -> None:
    assert "TIMEOUT must be more than 0 seconds" in Options.problems({"TIMEOUT": timeout})[0]
    assert Options().TIMEOUT > 0


def test_true_is_no_number_and_an_empty_secret_is_none() -> None:
    assert BotOptions.problems({"TOKEN": "", "RETRIES": True}) == ["TOKEN is empty", "RETRIES must be int, not bool"]


@pytest.mark.parametrize("rate", [30, None, 30.0, True, b"30/s", ("30/s",)])
def test_a_rate_that_is_no_text_is_said_with_an_example(rate: object) -> None:
    sentence = f"RATE must be text, such as '30/s', not {type(rate).__name__}"
    assert Options.problems({"RATE": rate}) == [sentence]

    @dataclass(frozen=True, kw_only=True)
    class Loose(Options):
        RATE: Any = rate

    # Also where a messenger's own class says otherwise, in its default or for a given value.
    assert Loose.problems({}) == Loose.problems({"RATE": rate}) == [sentence]
    with pytest.raises(ConfigurationError, match="RATE must be text"):
        Loose.from_mapping({})


def test_a_default_that_cannot_work_is_said_like_a_value_that_cannot() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Broken(Options):
        TIMEOUT: Any = None
        CONNECTIONS: Any = "two"

    assert Broken.problems({}) == ["TIMEOUT must be float, not NoneType", "CONNECTIONS must be a number from 1 to 32"]
    assert Options.problems({"TIMEOUT": float("inf")}) == Options.problems({"TIMEOUT": 0})


def test_connections_have_a_limit_of_their_class() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wide(Options):
        CONNECTIONS: int = 40
        MOST_CONNECTIONS: ClassVar[int] = 50

    assert Options.problems({"CONNECTIONS": 33}) == ["CONNECTIONS must be a number from 1 to 32"]
    assert Options.problems({"CONNECTIONS": 32}) == Wide.problems({}) == Wide.problems({"CONNECTIONS": 50}) == []
    assert Wide.problems({"CONNECTIONS": 51}) == ["CONNECTIONS must be a number from 1 to 50"]
    assert [field.name for field in dataclasses.fields(Wide)] == ["TIMEOUT", "RATE", "CONNECTIONS"]


def test_an_option_of_an_earlier_version_says_its_new_name() -> None:
    assert Options.problems({"LANES": 4}) == ["LANES is called CONNECTIONS now"]


def test_secrets_show_neither_in_repr_nor_in_what_others_raise() -> None:
    options = BotOptions(TOKEN="12:AB/C", KEYS={"eu": "12:AB/C-and-more"})
    assert "AB" not in repr(options)
    text = "GET https://api/bot12:AB/C/send or bot12%3AAB/C or bot12%3AAB%2FC or key 12:AB/C-and-more failed"
    assert options.mask(text) == "GET https://api/bot***/send or bot*** or bot*** or key *** failed"
    assert Options().mask("nothing to hide") == "nothing to hide"


def test_an_error_is_logged_with_its_traceback_and_without_secrets() -> None:
    options = BotOptions(TOKEN="12:AB/C", KEYS={})

    def fail(said: str) -> None:
        raise RuntimeError(f"the provider said {said}") from KeyError(said)

    with pytest.raises(RuntimeError) as raised:
        fail(options.TOKEN)
    logged = "".join(traceback.format_exception(*options.exc_info(raised.value)))
    assert "in fail" in logged
    assert "RuntimeError: the provider said ***" in logged
    assert "12:AB" not in logged


class Person:
    name = "ann"
    friend = None
    _secret = "canary"

    @property
    def broken(self) -> str:
        return self.nothing  # type: ignore[attr-defined,no-any-return]

    def method(self) -> str:
        raise AssertionError("nothing is called")


def test_paths_lead_through_mappings_and_attributes() -> None:
    start: dict[str, Any] = {"movie": SimpleNamespace(owner=Person()), "none": None}
    assert follow(start, "movie.owner.name") == "ann"
    assert follow(start, "movie.owner.friend.name") is None
    assert follow(start, "none.name") is None
    assert callable(follow(start, "movie.owner.method"))


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("movie.director", "has no attribute 'director'"),
        ("film", "there is no 'film'"),
        ("movie._secret", "begins with an underscore"),
        ("movie..name", "a step is empty"),
        ("", "a step is empty"),
        ("movie.owner.broken", "cannot be followed"),
    ],
)
def test_what_cannot_be_followed_is_said(path: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        follow({"movie": SimpleNamespace(owner=Person())}, path)


def test_a_missing_key_can_count_as_nothing_and_a_missing_attribute_never() -> None:
    start = SimpleNamespace(preferences={"phone": "+1"})
    assert follow(start, "preferences.phone", missing_key_is_none=True) == "+1"
    assert follow(start, "preferences.language", missing_key_is_none=True) is None
    with pytest.raises(ConfigurationError, match="has no attribute 'settings'"):
        follow(start, "settings.language", missing_key_is_none=True)


def test_what_may_not_be_read_ends_the_walk_before_it_is_taken() -> None:
    class Guarded:
        @property
        def secret(self) -> str:
            raise AssertionError("it was read")

    asked: list[tuple[type, str]] = []

    def may_read(owner: object, step: str) -> bool:
        asked.append((type(owner), step))
        return step != "secret"

    with pytest.raises(ConfigurationError, match="'secret' is sensitive, and no path reads it"):
        walk({"a": Guarded()}, ["a", "secret", "more"], "a.secret.more", may_read=may_read)
    assert asked == [(dict, "a"), (Guarded, "secret")]
