"""``make demo``: releases a movie, and shows whom it was told, over real SMTP.

Exit status 1, with the reason, unless every expected e-mail arrived exactly once, and no other.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from local_smtp import LocalSMTP, Mail

WIDTH: Final = 80
MOVIE: Final = "Solaris"

#: Who must get exactly one e-mail, and why. Written down here and not asked of what is being tested.
EXPECTED: Final = {
    "ann@example.org": "is in the Film club",
    "ben@example.org": "is in the Film club and gets the Newsletter",
    "cleo@example.org": "is in the Film club and gets the Newsletter",
    "dan@example.org": "gets the Newsletter and waits for Solaris",
    "eve@example.org": "is in no group, but waits for Solaris",
    "press@example.org": "is no user: a bare address",
}
#: Who must get none although a group holds them.
NOT_EXPECTED: Final = {"fay@example.org": "gets the Newsletter, but the account is switched off"}


class ProjectorBrokeError(Exception):
    """What goes wrong in the release that is rolled back."""


def main() -> int:
    """Run the demo, and return the exit status."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="dsn-demo-") as folder, LocalSMTP(refuse=arguments.refuse) as server:
        os.environ["DJANGO_SETTINGS_MODULE"] = "cinema_project.settings"
        os.environ["CINEMA_DATABASE"] = str(Path(folder, "demo.sqlite3"))
        os.environ["CINEMA_SMTP_PORT"] = str(server.port)
        with database_closed_at_the_end():
            problems = show(server)
    return conclude(problems)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Release a movie, and see whom the e-mails reach.")
    parser.add_argument(
        "--refuse",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="let the mail server refuse this address, to see what becomes of it: the demo then fails, as it should",
    )
    return parser.parse_args()


@contextlib.contextmanager
def database_closed_at_the_end() -> Iterator[None]:
    """Set Django up, and let go of the database, so that its folder can be removed."""
    import django
    from django.db import connections

    django.setup()
    try:
        yield
    finally:
        connections.close_all()


def show(server: LocalSMTP) -> list[str]:
    """All steps. Returns what is not as it must be."""
    step("A fresh database, in a temporary folder")
    migrate()
    step("The plugins (manage.py dsn_plugins)")
    if problems := show_plugins():
        return problems
    step("The cinema, and its rules")
    make_cinema()
    step("A release that fails half-way")
    problems = release_in_vain(server)
    step(f"{MOVIE} is released")
    release(server)
    step("The e-mails, as the mail server received them")
    show_mails(server.mails)
    step("The deliveries, as dsn-core recorded them")
    show_deliveries()
    return problems + wrong_mails(server.mails) + wrong_statuses(server.mails)


def migrate() -> None:
    import django
    from django.core.management import call_command

    output = io.StringIO()
    call_command("migrate", stdout=output, no_color=True)
    number = output.getvalue().count("... OK")
    say(f"Migrated SQLite with Django {django.__version__}: {number} migrations, those of dsn-core among them.")


def show_plugins() -> list[str]:
    from django.core.management import call_command

    say("Nobody registered any of them: they were found. 'email' is from dsn-email, a package of its own.")
    print()
    call_command("dsn_plugins")
    output = io.StringIO()
    call_command("dsn_plugins", format="json", stdout=output)
    plugins = {plugin["name"]: plugin for plugin in json.loads(output.getvalue())["plugins"]}
    email = plugins.get("email")
    if email is None or (email["distribution"], email["state"]) != ("dsn-email", "active"):
        return ["The plugin 'email' of the package dsn-email is not active; is the package installed?"]
    broken = [plugin for plugin in plugins.values() if plugin["state"] == "broken"]
    return [f"The plugin {plugin['name']!r} is broken: {plugin['reason']}" for plugin in broken]


def make_cinema() -> None:
    from cinema import example_data
    from cinema.models import Movie
    from dsn_core.models import Subscription

    example_data.seed()
    for name, members in example_data.GROUPS.items():
        print(f"  {f'group {name}':<23}{', '.join(members)}")
    audience = Movie.objects.get(name=MOVIE).audiences.values_list("username", flat=True)
    print(f"  {f'waiting for {MOVIE}':<23}{', '.join(audience)}")
    print(f"  {'switched off':<23}{', '.join(example_data.INACTIVE)}")
    for subscription in Subscription.objects.select_related("trigger").order_by("id"):
        print()
        print(f"  when   {subscription.trigger}")
        print(f"  what   {', '.join(map(str, subscription.backends.all()))}")
        whom = [f"group {group}" for group in subscription.groups.all()]
        if subscription.resolver:
            whom.append(f"resolver {subscription.resolver} {subscription.argument}".rstrip())
        whom += [address.address for address in subscription.addresses.all()]
        print(textwrap.fill(", ".join(whom), WIDTH, initial_indent="  whom   ", subsequent_indent=" " * 9))


def release_in_vain(server: LocalSMTP) -> list[str]:
    from django.contrib.auth.models import User
    from django.db import transaction

    from cinema.models import Movie
    from dsn_core.models import Delivery, Event

    say("Stalker is released, but then the projector breaks and the transaction rolls back.")
    with contextlib.suppress(ProjectorBrokeError), transaction.atomic():
        Movie.objects.get(name="Stalker").release(by=User.objects.get(username="admin"))
        raise ProjectorBrokeError
    found = {"events": Event.objects.count(), "deliveries": Delivery.objects.count(), "e-mails": len(server.mails)}
    say(f"It left {', '.join(f'{number} {name}' for name, number in found.items())}.")
    return [f"The release that was rolled back left {number} {name}." for name, number in found.items() if number]


def release(server: LocalSMTP) -> None:
    from django.contrib.auth.models import User

    from cinema.models import Movie

    say(f"A mail server of this demo listens on 127.0.0.1:{server.port}.")
    say("The movie is saved, which fires post_save (the built-in console messenger prints it below), "
        "and then the cinema sends its own signal, movie_released.")  # fmt: skip
    print()
    Movie.objects.get(name=MOVIE).release(by=User.objects.get(username="admin"))


def show_mails(mails: list[Mail]) -> None:
    for mail in sorted(mails, key=lambda item: item.to):
        because = (EXPECTED | NOT_EXPECTED).get(mail.receivers[0], "nobody expected this")
        print(f"  To: {mail.to}  ({because})"[:WIDTH])
        print(f"  Subject: {mail.subject}"[:WIDTH])
        for line in mail.first_lines(3):
            print(f"  | {line.rstrip()}"[:WIDTH])
        print()
    say(f"{len(mails)} e-mails, each with its text and the same as HTML.")


def show_deliveries() -> None:
    from dsn_core.models import Delivery

    row = "  {:<15}{:<9}{:<19}{:<9}{}"
    print(row.format("verb", "by", "to", "status", "why"))
    print("  " + "-" * (WIDTH - 2))
    for delivery in Delivery.objects.select_related("event", "user").order_by("id"):
        to = delivery.address or str(delivery.user)
        why = textwrap.wrap(delivery.last_error, WIDTH - 54) or [""]
        print(row.format(delivery.event.verb, delivery.messenger, to, delivery.status, why[0]).rstrip())
        for line in why[1:]:
            print(" " * 54 + line)


def wrong_mails(mails: list[Mail]) -> list[str]:
    """Compare what the server received with what was expected of whom."""
    arrived = Counter(address for mail in mails for address in mail.receivers)
    problems = []
    for address, because in EXPECTED.items():
        if arrived[address] != 1:
            problems.append(f"{address} {because}, and must get exactly one e-mail, but got {arrived[address]}.")
    for address in sorted(set(arrived) - set(EXPECTED)):
        because = NOT_EXPECTED.get(address, "is not known to the cinema")
        problems.append(f"{address} {because}, and must get no e-mail, but got {arrived[address]}.")
    for mail in mails:
        if mail.receivers != (mail.to,):
            problems.append(f"An e-mail to {mail.to} was sent to {', '.join(mail.receivers)}.")
        if mail.subject != f"{MOVIE} is out" or MOVIE not in mail.part("plain") or MOVIE not in mail.part("html"):
            problems.append(f"The e-mail to {mail.to} does not say, in subject, text and HTML, that {MOVIE} is out.")
    return problems


def wrong_statuses(mails: list[Mail]) -> list[str]:
    """What the deliveries say must be what happened."""
    from dsn_core.models import Delivery

    arrived = Counter(address for mail in mails for address in mail.receivers)
    said = Counter(Delivery.objects.filter(messenger="email", status="sent").values_list("address", flat=True))
    lies = [(said - arrived, "is recorded as sent to {}, but did not arrive")]
    lies += [(arrived - said, "arrived at {}, but is not recorded as sent")]
    return [f"An e-mail {lie.format(address)}." for addresses, lie in lies for address in addresses]


def conclude(problems: list[str]) -> int:
    from cinema.example_data import ADMIN

    sys.stdout.flush()
    if problems:
        print("\nTHE DEMO FAILED", file=sys.stderr)
        for problem in problems:
            print(textwrap.fill(problem, WIDTH, initial_indent="  - ", subsequent_indent="    "), file=sys.stderr)
        return 1
    step("Done")
    say(f"All {len(EXPECTED)} expected e-mails arrived, each exactly once, and no other.")
    print()
    say("Click through it yourself:    make serve")
    say("and open the admin:           http://127.0.0.1:8000/admin/")
    say(f"with:                         user {ADMIN[0]}, password {ADMIN[1]}")
    return 0


_numbers = itertools.count(1)


def step(title: str) -> None:
    print(f"\n{next(_numbers)}. {title}\n{'=' * WIDTH}", flush=True)


def say(text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
