"""The example's demo as people see it: a process, with real SMTP and real HTTP to stand-ins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.examples.programs import CINEMA, MARKS, ROOT, SECONDS, environment, without_databases

pytestmark = MARKS


def run_demo(*arguments: str, folder: Path = CINEMA) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, os.fspath(folder / "demo.py"), *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def rows_of(output: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    """The table of all deliveries: by verb, receiver and messenger the status, and the provider's id or the reason."""
    table = output.partition("All deliveries, as dsn-core recorded them")[2].partition("dsn-core's signal")[0]
    found: dict[tuple[str, str, str], tuple[str, str]] = {}
    verb = receiver = ""
    for line in table.splitlines()[3:]:
        if heading := re.fullmatch(r"  (\w+) -+", line):
            verb = heading[1]
        elif person := re.fullmatch(r"  ([\w.@]+)(?:: .+)?", line):
            receiver = person[1]
        elif cells := re.fullmatch(r"    (\w+) +(sent, delivered|\w+) *(.*)", line):
            assert (verb, receiver, cells[1]) not in found
            found[verb, receiver, cells[1]] = cells[2], cells[3]
    return found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo leaves what all loggers said."""
    return tmp_path_factory.mktemp("demo") / "demo.log"


@pytest.fixture(scope="module")
def demo(log: Path) -> subprocess.CompletedProcess[str]:
    return run_demo("--log", os.fspath(log))


def test_the_demo_succeeds_and_says_how_to_go_on(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert "All 6 expected e-mails arrived, each exactly once, and no other." in demo.stdout
    assert "make serve" in demo.stdout
    assert "user admin, password cinema" in demo.stdout


@pytest.mark.parametrize("name", ["email", "telegram", "sms"])
def test_the_demo_shows_the_plugins_that_were_found_by_themselves(
    demo: subprocess.CompletedProcess[str], name: str
) -> None:
    assert re.search(rf"^{name}: active\n  dsn-{name} \S+, entry point$", demo.stdout, re.MULTILINE)


def test_the_demo_shows_one_email_for_each_receiver(demo: subprocess.CompletedProcess[str]) -> None:
    receivers = re.findall(r"^  To: (\S+@\S+)  \(.+\)\n  Subject: Solaris is out$", demo.stdout, re.MULTILINE)
    assert receivers == [f"{name}@example.org" for name in ("ann", "ben", "cleo", "dan", "eve", "press")]
    assert "  | Dear Ben,\n  | Solaris can be seen from today on." in demo.stdout


def test_the_demo_shows_the_messages_on_telephones(demo: subprocess.CompletedProcess[str]) -> None:
    said = r"^  To: chat (\d+)  \((\w+)\)\n  \| Solaris can be seen from today on\.$"
    assert re.findall(said, demo.stdout, re.MULTILINE) == [("1001", "Ann"), ("1003", "Cleo"), ("1005", "Eve")]
    said = r"^  To: (\+\d+)  \((\w+)\)\n  \| Electric Cinema: Solaris can be seen"
    numbers = [("+4915112345601", "Ann"), ("+4915112345604", "Dan")]
    assert re.findall(said, demo.stdout, re.MULTILINE) == numbers


def test_the_demo_shows_how_an_account_is_connected(demo: subprocess.CompletedProcess[str]) -> None:
    said = " ".join(demo.stdout.replace("|", " ").split())
    steps = [
        "The webhook is set.",
        "The link is https://t.me/electric_cinema_bot?start=",
        "confirm on the site that this is your Telegram account",
        "The Telegram account Eve (@eve) pressed Start with your link.",
        "Your messages go to the Telegram account Eve (@eve).",
        "Welcome, Eve!",
    ]
    assert [step for step in steps if step not in said] == []
    assert sorted(steps, key=said.index) == steps


def test_the_demo_shows_all_deliveries_with_their_status(demo: subprocess.CompletedProcess[str]) -> None:
    rows = rows_of(demo.stdout)
    assert len(rows) == 1 + 1 + 9 * 3 + 1
    statuses = Counter(status for status, _ in rows.values())
    assert statuses == {"sent": 11, "sent, delivered": 2, "skipped": 15, "failed": 2}
    assert rows["post_save", "admin", "console"] == ("sent", "")
    assert rows["telegram_connected", "eve", "telegram"][0] == "sent"

    def release(receiver: str, messenger: str) -> tuple[str, str]:
        return rows["movie_released", receiver, messenger]

    assert re.fullmatch(r"[0-9a-f]{32}\.\d+@example\.org", release("press@example.org", "email")[1])
    assert release("eve", "telegram")[0] == "sent"
    assert release("eve", "telegram")[1].isdecimal()
    assert release("dan", "sms")[0] == "sent, delivered"
    assert re.fullmatch(r"SM[0-9a-f]{32}", release("dan", "sms")[1])
    assert release("fay", "telegram") == ("skipped", "The user's account is not active.")
    assert release("gus", "sms") == ("skipped", "The user has no address for sms.")
    assert release("hal", "telegram") == ("failed", "403: Forbidden: bot was blocked by the user")
    assert release("ida", "sms")[0] == "failed"
    assert "21610" in release("ida", "sms")[1]
    assert "which users cannot be reached: hal by telegram, ida by sms." in " ".join(demo.stdout.split())


def test_no_log_holds_a_secret(demo: subprocess.CompletedProcess[str], log: Path) -> None:
    secrets = ("the bot's token", "the webhook's secret", "the SMS provider's key", "the token of Eve's link")
    for secret in secrets:
        assert f"{secret} in the logs: 0 times; in the database: 0 times" in demo.stdout
    assert "no_bot_has_this_token" not in demo.stdout + demo.stderr
    # Searched once more, by other means: and those who could give the token away did speak.
    written = log.read_text(encoding="utf-8")
    for secret in ("no_bot_has_this_token", "nobody_calls_with_this_secret", "no_account_has_this_key"):
        assert secret in (CINEMA / "cinema_project" / "credentials.py").read_text(encoding="utf-8")
        assert secret not in written
    assert "DEBUG httpcore.http11 send_request_headers.complete" in written
    assert "/telegram/telegram/webhook/" in written


def test_a_release_that_is_rolled_back_leaves_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    assert "It left 0 events, 0 deliveries, 0 e-mails, 0 Telegram messages, 0 SMS." in demo.stdout


def test_the_demo_fits_into_80_columns(demo: subprocess.CompletedProcess[str]) -> None:
    assert [line for line in demo.stdout.splitlines() if len(line) > 80] == []


def test_the_demo_fails_loudly_when_an_email_does_not_arrive() -> None:
    refused = run_demo("--refuse", "ben@example.org")
    assert refused.returncode == 1
    assert "THE DEMO FAILED" in refused.stderr
    said = " ".join(refused.stderr.split())
    assert "ben@example.org is in the Film club and gets the Newsletter, and must get exactly one e-mail" in said
    assert "but got 0" in said
    assert "arrived, each exactly once" not in refused.stdout
    assert rows_of(refused.stdout)["movie_released", "ben", "email"][0] == "failed"
    assert "The delivery to ben by email must be sent, and is failed." in said


DATA = "cinema/example_data.py"
LEAK = "from logging import debug; debug('POST /bot%s', settings.DSN['MESSENGERS']['telegram']['BOT_TOKEN'])"


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        (
            [(DATA, 'INACTIVE: Final = ["fay"]', "INACTIVE: Final = []")],
            [
                "fay@example.org gets the Newsletter",
                "must get no e-mail, but got 1.",
                "The delivery to fay by email must be skipped, and is sent.",
            ],
        ),
        (
            [
                (DATA, 'BLOCKED: Final = ["hal"]', "BLOCKED: Final = []"),
                (DATA, 'STOPPED: Final = ["ida"]', "STOPPED: Final = []"),
            ],
            [
                "The Telegram message to 1008 was not expected.",
                "The SMS to +4915112345609 was not expected.",
                "The signal address_refused must tell of hal by telegram and ida by sms, and told of no user.",
            ],
        ),
        (
            [("stand_ins/sms.py", '"sha1"', '"md5"')],
            [
                "The reports must change the SMS from sent to delivered; the site answered [403, 403].",
                "The delivery to ann by sms must be sent, delivered, and is sent.",
            ],
        ),
        (
            [("cinema/views.py", '    return {"cinema_name"', f'    {LEAK}\n    return {{"cinema_name"')],
            ["The bot's token must be in no log and no row."],
        ),
        (
            [
                (
                    "cinema_project/settings.py",
                    '    "MESSENGERS": {',
                    '    "DISABLED_PLUGINS": ["email"], "MESSENGERS": {',
                )
            ],
            ["The plugin 'email' of the package dsn-email is not active; is it installed?"],
        ),
    ],
    ids=["too many e-mails", "too many messages", "no reports", "a leak", "no plugin"],
)
def test_the_demo_fails_loudly(tmp_path: Path, changes: list[tuple[str, str, str]], complaints: list[str]) -> None:
    copy = tmp_path / "cinema"
    shutil.copytree(CINEMA, copy, ignore=without_databases)
    for name, old, new in changes:
        source = (copy / name).read_text(encoding="utf-8")
        assert old in source
        (copy / name).write_text(source.replace(old, new), encoding="utf-8")
    ended = run_demo(folder=copy)
    assert ended.returncode == 1
    assert "THE DEMO FAILED" in ended.stderr
    said = " ".join(ended.stderr.split())
    assert [complaint for complaint in complaints if complaint not in said] == []


def test_a_stand_in_bears_many_messages_at_once_and_shows_each_in_one_piece() -> None:
    script = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from stand_ins.program import Program\n"
        "with Program('bot_api', '--token', '1:a', '--show') as bot, ThreadPoolExecutor(32) as pool:\n"
        "    call = {'text': 'one\\ntwo'}\n"
        "    list(pool.map(lambda chat: bot.ask('/bot1:a/sendMessage', call | {'chat_id': chat}), range(500)))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CINEMA,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    found = re.findall(r"Telegram to chat (\d+):\n  \| one\n  \| two\n", ended.stdout)
    assert sorted(map(int, found)) == list(range(500))


@pytest.mark.parametrize("name", ["bot_api", "sms"])
def test_a_stand_in_ends_with_its_parent_process_or_when_its_time_is_over(name: str) -> None:
    own = {"bot_api": ["--token", "1:a"], "sms": ["--account", "AC0", "--key", "k"]}[name]
    command = [sys.executable, "-m", f"stand_ins.{name}", *own]
    with subprocess.Popen(command, cwd=CINEMA, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as left:
        assert left.stdout is not None
        assert left.stdin is not None
        assert int(left.stdout.readline()) > 0
        assert left.poll() is None
        left.stdin.close()
        assert left.wait(SECONDS) == 0
    with subprocess.Popen(
        [*command, "--seconds", "0.2"], cwd=CINEMA, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as over:
        assert over.wait(SECONDS) == 0


@pytest.mark.parametrize(
    "command", [("check",), ("makemigrations", "--check", "--dry-run")], ids=lambda command: command[0]
)
def test_the_project_is_in_order(command: tuple[str, ...], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, os.fspath(CINEMA / "manage.py"), *command],
        env=environment(CINEMA_DATABASE=os.fspath(tmp_path / "cinema.sqlite3")),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_setting_up_twice_changes_nothing_and_sends_nothing(tmp_path: Path) -> None:
    script = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\n"
        "from cinema.models import Movie\n"
        "from dsn_core.models import Backend, Event, Subscription, Trigger\n"
        "for _ in range(2):\n"
        "    call_command('seed_cinema')\n"
        "    print([model.objects.count() for model in (Movie, Trigger, Subscription, Backend, Event)])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CINEMA,
        env=environment(
            DJANGO_SETTINGS_MODULE="cinema_project.settings", CINEMA_DATABASE=os.fspath(tmp_path / "cinema.sqlite3")
        ),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("[3, 3, 3, 5, 0]") == 2
