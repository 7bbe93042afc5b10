"""Who goes to the cinema, what is on, and the rules by which people are told. All of it could be made in the admin."""

from __future__ import annotations

from typing import Final

from django.contrib.auth.models import Group, User

from cinema.models import Movie
from dsn_core.models import Trigger

#: Who may log in to the admin.
ADMIN: Final = ("admin", "cinema")
#: Overlapping on purpose: Ben and Cleo are in both.
GROUPS: Final = {
    "Film club": ["ann", "ben", "cleo"],
    "Newsletter": ["ben", "cleo", "dan", "fay"],
}
#: Dan gets the newsletter, too; Eve is in no group.
MOVIES: Final = {
    "Solaris": ("A psychologist, a space station, and an ocean that thinks.", ["dan", "eve"]),
    "Playtime": ("Monsieur Hulot gets lost in a city of glass.", ["ann", "eve"]),
    "Stalker": ("Three men walk to a room where wishes come true.", ["ben"]),
}
#: Accounts that are switched off: nothing is sent to them.
INACTIVE: Final = ["fay"]
#: An address of somebody who is no user.
PRESS: Final = "press@example.org"


def seed() -> None:
    """Make what is not there yet. Movies come before the triggers, so that making them tells nobody."""
    make_people()
    make_movies()
    make_rules()


def make_people() -> None:
    """The groups, their users, and one who may use the admin."""
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
    """When, what and whom: the triggers, with their subscriptions and backends."""
    saved = Trigger.objects.define("post_save", action_object=Movie)
    saved.subscribe("Staff", resolver="staff", backends=[("console", "simple")])

    released = Trigger.objects.define("movie_released")
    released.subscribe(
        "Everybody who cares",
        groups=Group.objects.filter(name__in=GROUPS),
        resolver="path",
        argument="movie.audiences",
        addresses=[("email", PRESS)],
        backends=[("email", "movie_released")],
    )


def _user(name: str) -> User:
    defaults = {"email": f"{name}@example.org", "first_name": name.title(), "is_active": name not in INACTIVE}
    user, created = User.objects.get_or_create(username=name, defaults=defaults)
    if created:
        # They are there to get messages; only the admin logs in.
        user.set_unusable_password()
        user.save()
    return user
