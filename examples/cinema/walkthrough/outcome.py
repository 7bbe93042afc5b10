"""The last steps: a table of all deliveries, and the search for secrets."""

from __future__ import annotations

import base64
from collections import defaultdict
from itertools import groupby
from typing import Any, Final

from cinema_project import credentials
from walkthrough import expected
from walkthrough.output import WIDTH, row, say, step
from walkthrough.world import World

WIDTHS: Final = (10, 17)


def show_deliveries(world: World) -> list[str]:
    from dsn_core.models import Delivery

    step("All deliveries, as dsn-core recorded them")
    row(WIDTHS, "by", "status", "the provider's id, or the reason")
    found: dict[str, dict[str, str]] = defaultdict(dict)
    deliveries = sorted(Delivery.objects.select_related("event", "user"), key=_place)
    for verb, of_event in groupby(deliveries, key=lambda delivery: delivery.event.verb):
        print(f"\n  {verb} ".ljust(WIDTH + 1, "-"))
        is_release = verb == "movie_released"
        for label, of_receiver in groupby(of_event, key=_who):
            print(
                f"  {label}: {expected.PEOPLE[label][0]}" if is_release and label in expected.PEOPLE else f"  {label}"
            )
            for delivery in of_receiver:
                status = ", ".join(filter(None, (delivery.status, delivery.report)))
                row(WIDTHS, delivery.messenger, status, delivery.last_error or delivery.provider_id)
                if is_release:
                    found[label][delivery.messenger] = status
    refused = ", ".join(f"{name} by {messenger}" for name, messenger in sorted(world.refused))
    print()
    say(f"dsn-core's signal address_refused told the site which users cannot be reached: {refused or 'none'}.")
    return expected.wrong_deliveries(found) + expected.wrong_refusals(world.refused)


def _place(delivery: Any) -> tuple[Any, ...]:
    """Events in their order, users before bare addresses, and messengers in the order of the rules."""
    return delivery.event_id, delivery.user is None, _who(delivery), delivery.backend_id


def _who(delivery: Any) -> str:
    return str(delivery.user or delivery.address)


def search_for_secrets(world: World) -> list[str]:
    step("The logs, searched for secrets")
    packages = world.logs.packages
    said = ", ".join(f"{packages[name]:,} {name}" for name in sorted(packages))
    say(f"Every record of every logger was kept, DEBUG too: {packages.total():,} ({said}).")
    print()
    login = base64.b64encode(f"{credentials.SMS_ACCOUNT}:{credentials.SMS_KEY}".encode()).decode()
    # Each in the spellings in which it travels. Of the bot's token the first half is the bot's number, which is public.
    sought = {
        "the bot's token": [credentials.BOT_TOKEN.partition(":")[2]],
        "the webhook's secret": [credentials.WEBHOOK_SECRET],
        "the SMS provider's key": [credentials.SMS_KEY, login],
        "the token of Eve's link": [world.link_token] if world.link_token else [],
    }
    # SQLite may hold pages back until they are written to the main file.
    stored = b"".join(path.read_bytes() for path in sorted(world.database.parent.glob(f"{world.database.name}*")))
    problems = []
    for name, spellings in sought.items():
        logged = sum(map(world.logs.times, spellings))
        kept = sum(stored.count(spelling.encode()) for spelling in spellings)
        print(f"  {name} in the logs: {logged} times; in the database: {kept} times")
        if logged or kept:
            problems.append(f"{name[0].upper()}{name[1:]} must be in no log and no row.")
    # The search is meaningful only if the loggers that could show secrets have logged something.
    silent = [name for name in ("django", "httpcore", "dsn_core") if not packages[name]]
    return problems + [f"Nothing of {name} is in the logs, so that the search says little." for name in silent]
