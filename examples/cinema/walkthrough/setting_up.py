"""The first steps: a database, the plugins, and the cinema with its rules."""

from __future__ import annotations

import io
import json
import textwrap
from typing import Final

from walkthrough.expected import MOVIE
from walkthrough.output import WIDTH, say, step

#: The plugins that the demo needs, each from a package of its own.
PLUGINS: Final = {"email": "dsn-email", "telegram": "dsn-telegram", "sms": "dsn-sms"}


def migrate() -> None:
    import django
    from django.core.management import call_command

    step("A fresh database, in a temporary folder")
    output = io.StringIO()
    call_command("migrate", stdout=output, no_color=True)
    number = output.getvalue().count("... OK")
    say(f"Migrated SQLite with Django {django.__version__}: {number} migrations, those of dsn-core among them.")


def show_plugins() -> list[str]:
    """Returns what is wrong with them."""
    from django.core.management import call_command

    step("The plugins (manage.py dsn_plugins)")
    say("They were found without being registered. email, telegram and sms are separate packages.")
    print()
    call_command("dsn_plugins")
    output = io.StringIO()
    call_command("dsn_plugins", format="json", stdout=output)
    found = {plugin["name"]: plugin for plugin in json.loads(output.getvalue())["plugins"]}
    broken = [plugin for plugin in found.values() if plugin["state"] == "broken"]
    problems = [f"The plugin {plugin['name']!r} is broken: {plugin['reason']}" for plugin in broken]
    for name, distribution in PLUGINS.items():
        plugin = found.get(name, {})
        if (plugin.get("distribution"), plugin.get("state")) != (distribution, "active"):
            problems.append(f"The plugin {name!r} of the package {distribution} is not active; is it installed?")
    return problems


def make_cinema() -> None:
    from cinema import example_data
    from cinema.models import Movie
    from dsn_core.models import Subscription

    step("The cinema, and its rules")
    example_data.seed()
    audience = Movie.objects.get(name=MOVIE).audiences.values_list("username", flat=True)
    people = {f"group {name}": members for name, members in example_data.GROUPS.items()}
    people |= {f"waiting for {MOVIE}": audience, "switched off": example_data.INACTIVE}
    people |= {"no e-mail address": example_data.WITHOUT_EMAIL}
    people |= {"with Telegram": list(example_data.TELEGRAM), "with a phone number": list(example_data.PHONES)}
    for what, names in people.items():
        print(f"  {what:<23}{', '.join(names)}")
    for subscription in Subscription.objects.select_related("trigger").order_by("id"):
        print()
        print(f"  when   {subscription.trigger}")
        backends = ", ".join(map(str, subscription.backends.all()))
        print(textwrap.fill(backends, WIDTH, initial_indent="  what   ", subsequent_indent=" " * 9))
        whom = [f"group {group}" for group in subscription.groups.all()]
        if subscription.resolver:
            whom.append(f"resolver {subscription.resolver} {subscription.argument}".rstrip())
        whom += [address.address for address in subscription.addresses.all()]
        print(textwrap.fill(", ".join(whom), WIDTH, initial_indent="  whom   ", subsequent_indent=" " * 9))
