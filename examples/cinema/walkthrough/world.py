"""All that runs beside the demo: the stand-ins, the site, and the logs."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from cinema_project import credentials
from stand_ins.program import Program
from stand_ins.smtp import LocalSMTP
from walkthrough.logs import Logs
from walkthrough.site import Site

#: Seconds that anything may take.
PATIENCE: Final = 30
FoundT = TypeVar("FoundT")


@dataclass
class World:
    smtp: LocalSMTP
    bot: Program
    sms: Program
    site: Site
    logs: Logs
    database: Path
    #: The token of the link that Eve followed.
    link_token: str = ""
    #: Of whom the signal address_refused told: user and messenger.
    refused: list[tuple[str, str]] = field(default_factory=list)

    @staticmethod
    def wait_for(find: Callable[[], FoundT]) -> FoundT:
        """What ``find`` returns, as soon as that is true, or else at last."""
        end = time.monotonic() + PATIENCE
        while not (found := find()) and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def arrived(self) -> dict[str, int]:
        """How many messages of each kind arrived up to now."""
        return {
            "e-mails": len(self.smtp.mails),
            "Telegram messages": len(self.bot.ask("/_messages")),
            "SMS": len(self.sms.ask("/_messages")),
        }


@contextlib.contextmanager
def running(refuse: Collection[str], log: Path | None) -> Iterator[World]:
    """Start everything, and set Django up; at the end of the block all of it ends, and the database is gone."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dsn-demo-")))
        smtp = stack.enter_context(LocalSMTP(refuse=refuse))
        bot = stack.enter_context(Program("bot_api", "--token", credentials.BOT_TOKEN))
        account = ["--account", credentials.SMS_ACCOUNT, "--key", credentials.SMS_KEY]
        sms = stack.enter_context(Program("sms", *account))
        site = Site()
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "cinema_project.settings",
            "CINEMA_DATABASE": str(folder / "demo.sqlite3"),
            "CINEMA_SMTP_PORT": str(smtp.port),
            "CINEMA_BOT_API": bot.url,
            "CINEMA_SMS_API": sms.url,
            "CINEMA_URL": site.url,
        }
        import django
        from django.db import connections

        django.setup()
        from cinema import example_data
        from dsn_core.signals import address_refused

        # Let go of the database, so that its folder can be removed.
        stack.callback(connections.close_all)
        logs = stack.enter_context(Logs(log or folder / "demo.log"))
        world = World(smtp, bot, sms, stack.enter_context(site), logs, folder / "demo.sqlite3")
        bot.ask("/_blocked", example_data.blocked_chats())
        sms.ask("/_stopped", example_data.stopped_numbers())

        def hear(sender: object, messenger: str, user: object, address: str, **said: object) -> None:
            world.refused.append((str(user or address), messenger))

        address_refused.connect(hear)
        yield world
