"""The example's users, movies, triggers and subscriptions. All of them could be made in the admin."""

from __future__ import annotations

import functools
import re
from typing import Final

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User

from cinema.models import Movie
from dsn_core import store_address
from dsn_core.models import Trigger

#: The user of the admin. The others have the same password.
ADMIN: Final = ("admin", "cinema")
#: Overlapping on purpose: Ben and Cleo are in both.
GROUPS: Final = {
    "Film club": ["ann", "ben", "cleo", "hal"],
    "Newsletter": ["ben", "cleo", "dan", "fay", "gus", "ida"],
}
#: Dan gets the newsletter, too; Eve is in no group.
MOVIES: Final = {
    "Solaris": ("A psychologist, a space station, and an ocean that thinks.", ["dan", "eve"]),
    "Playtime": ("Monsieur Hulot gets lost in a city of glass.", ["ann", "eve"]),
    "Stalker": ("Three men walk to a room where wishes come true.", ["ben"]),
}
#: Accounts that are switched off: nothing is sent to them.
INACTIVE: Final = ["fay"]
#: Users without an e-mail address.
WITHOUT_EMAIL: Final = ["gus", "hal", "ida"]
#: The chats of the users who connected their Telegram account. Hal has blocked the bot since.
TELEGRAM: Final = {"ann": "1001", "cleo": "1003", "hal": "1008"}
BLOCKED: Final = ["hal"]
#: Telephone numbers, as users type them. Ida has answered STOP to an SMS.
PHONES: Final = {"ann": "0151 12345601", "dan": "+49 (151) 12345604", "ida": "+49 151 12345609"}
STOPPED: Final = ["ida"]
#: A bare address.
PRESS: Final = "press@example.org"


def seed() -> None:
    """Create what is missing. Movies are created before the triggers, so that they send no messages."""
    make_people()
    make_movies()
    make_rules()


def blocked_chats() -> list[str]:
    """The blocked chats, for the stand-in of the Bot API."""
    return [TELEGRAM[name] for name in BLOCKED]


def stopped_numbers() -> list[str]:
    """The numbers that sent STOP, as providers get them, for the stand-in of the SMS provider."""
    return [re.sub(r"[^+\d]", "", PHONES[name]) for name in STOPPED]


def make_people() -> None:
    """The groups, their users, and the user of the admin."""
    name, password = ADMIN
    if not User.objects.filter(username=name).exists():
        User.objects.create_superuser(name, f"{name}@example.org", password)
    for group_name, members in GROUPS.items():
        group, _created = Group.objects.get_or_create(name=group_name)
        group.user_set.add(*(_user(member) for member in members))


def make_movies() -> None:
    """The movies, none of them released, and their audiences."""
    for name, (about, audience) in MOVIES.items():
        movie, created = Movie.objects.get_or_create(name=name, defaults={"about": about})
        if created:
            movie.audiences.set([_user(member) for member in audience])


def make_rules() -> None:
    """The triggers, with their subscriptions and backends."""
    saved = Trigger.objects.define("post_save", action_object=Movie)
    saved.subscribe("Staff", resolver="staff", backends=[("console", "simple")])

    released = Trigger.objects.define("movie_released")
    released.subscribe(
        "Film club, newsletter and audience",
        groups=Group.objects.filter(name__in=GROUPS),
        resolver="path",
        argument="movie.audiences",
        addresses=[("email", PRESS)],
        backends=[
            ("email", "movie_released"),
            ("telegram", "movie_released_brief"),
            ("sms", "movie_released_brief"),
        ],
    )

    # The signal is dsn-telegram's own; the actor object is the user who connected.
    connected = Trigger.objects.define("telegram_connected")
    connected.subscribe("Welcome", resolver="actor", backends=[("telegram", "welcome")])


def _user(name: str) -> User:
    defaults = {
        "email": "" if name in WITHOUT_EMAIL else f"{name}@example.org",
        "first_name": name.title(),
        "is_active": name not in INACTIVE,
        "password": _hash_for_all(),
    }
    user, created = User.objects.get_or_create(username=name, defaults=defaults)
    # In rows of dsn-core's; DSN["PROFILE_MODEL"] could name a model of the project.
    for messenger, addresses in {"telegram": TELEGRAM, "sms": PHONES}.items():
        if created and name in addresses:
            store_address(user, messenger, addresses[name])
    return user


@functools.cache
def _hash_for_all() -> str:
    """Cached: hashing takes as long as everything else together."""
    return make_password(ADMIN[1])
