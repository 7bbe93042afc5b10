"""``make serve``: serves the cinema and its admin. Ctrl-C ends it.

Its database stays in this folder until ``--fresh`` makes a new one. E-mails, Telegram messages and SMS go to stand-ins
on this machine, which print them and deliver nothing.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from cinema_project import credentials
from stand_ins.program import Program
from stand_ins.server import framed
from stand_ins.smtp import LocalSMTP, Mail

HOST: Final = "127.0.0.1"
#: How long the stand-ins run at most: a day.
SECONDS: Final = "86400"
#: After how many seconds the SMS provider reports that a message was delivered.
REPORT_AFTER: Final = "2"
SMS_ARGUMENTS: Final = (
    *("--account", credentials.SMS_ACCOUNT, "--key", credentials.SMS_KEY),
    *("--seconds", SECONDS, "--show", "--report-after", REPORT_AFTER),
)
DATABASE: Final = Path(__file__).resolve().parent / "cinema.sqlite3"


def main() -> None:
    arguments = parse_arguments()
    if arguments.fresh:
        for path in DATABASE.parent.glob(f"{DATABASE.name}*"):
            path.unlink()
    # Not every terminal can show every character.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text file
    # As Ctrl-C, so that all ends in the same way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            LocalSMTP(on_mail=show_mail) as smtp,
            Program("bot_api", "--token", credentials.BOT_TOKEN, "--seconds", SECONDS, "--show") as bot,
            Program("sms", *SMS_ARGUMENTS) as sms,
        ):
            serve(free_port(arguments.port), smtp, bot, sms)
    except KeyboardInterrupt:
        sys.exit(0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve the cinema and its admin on this machine.")
    parser.add_argument("--port", type=int, default=8000, help="another one is taken when it is in use (8000)")
    parser.add_argument("--fresh", action="store_true", help="begin with a new database")
    return parser.parse_args()


def free_port(wanted: int) -> int:
    """The port that is wanted, or any free one."""
    for port in (wanted, 0):
        with socket.socket() as found:
            # As the server will do it: what has only just been closed counts as free.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                found.bind((HOST, port))
            except OSError:
                print(f"--> Port {port} is in use; another one is taken.")
            else:
                return int(found.getsockname()[1])
    raise SystemExit(f"There is no free port on {HOST}.")


def serve(port: int, smtp: LocalSMTP, bot: Program, sms: Program) -> None:
    """Migrate the database, and serve until Ctrl-C."""
    url = f"http://{HOST}:{port}"
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "cinema_project.settings",
        "CINEMA_DATABASE": str(DATABASE),
        "CINEMA_SMTP_PORT": str(smtp.port),
        "CINEMA_BOT_API": bot.url,
        "CINEMA_SMS_API": sms.url,
        "CINEMA_URL": url,
        "DJANGO_RUNSERVER_HIDE_WARNING": "true",
    }
    import django
    from django.core.management import call_command

    django.setup()
    from cinema import example_data

    print("--> The database: examples/cinema/cinema.sqlite3 (ARGS=--fresh makes a new one)", flush=True)
    call_command("migrate", verbosity=0)
    example_data.seed()
    bot.ask("/_blocked", example_data.blocked_chats())
    sms.ask("/_stopped", example_data.stopped_numbers())
    call_command("dsn_telegram", set_webhook=f"{url}/telegram/telegram/webhook/", stdout=io.StringIO())
    user, password = example_data.ADMIN
    print(f"""
    The cinema   {url}/
    The admin    {url}/admin/
    User         {user}
    Password     {password}   (of ann, ben, cleo, dan, eve, too)

Log in, release a movie, and see its e-mails, Telegram messages and SMS arrive
below. Log in as eve to connect a Telegram account. Ctrl-C ends it.
""")
    call_command("runserver", f"{HOST}:{port}", use_reloader=False)


def show_mail(mail: Mail) -> None:
    """Print an e-mail."""
    print(framed(f"E-mail to {mail.to}: {mail.subject}", "\n".join(mail.first_lines(3))), flush=True)


if __name__ == "__main__":
    main()
