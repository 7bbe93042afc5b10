"""The turns of chats, which all workers share, and the connections, which no process shares with another."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from django.db import connection

from dsn_telegram import pace
from dsn_telegram.models import Chat


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_the_same_turns_at_once_each_is_taken_once() -> None:
    chats = [str(number) for number in range(1, 9)]
    barrier = threading.Barrier(4)
    taken: list[str] = []
    errors: list[Exception] = []

    def work(order: int) -> None:
        barrier.wait(10)
        try:
            # In different orders, which is how workers come to wait for one another for ever.
            mine = chats if order % 2 else chats[::-1]
            assert pace.moves("7", mine) == {}
            taken.extend(chat for chat, wait in pace.book("7", dict.fromkeys(mine, 60)).items() if not wait)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(order,)) for order in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(taken) == len(set(taken))
    # Whom another was just taking may be nobody's for a moment, but then the next one gets it.
    rest = pace.book("7", dict.fromkeys(chats, 60))
    assert sorted([*taken, *(chat for chat, wait in rest.items() if not wait)]) == chats
    assert Chat.objects.count() == len(chats)


@pytest.mark.django_db
def test_two_bots_have_turns_of_their_own_and_calls_add_up() -> None:
    for bot in ("7", "8"):
        pace.moves(bot, ["1", "-1"])
        assert pace.book(bot, {"1": 2, "-1": 2}) == {"1": 0, "-1": 0}
    waits = pace.book("7", {"1": 1, "-1": 1})
    assert 1 < waits["1"] <= 2
    assert 5 < waits["-1"] <= 6


@pytest.mark.django_db
def test_a_clock_that_was_set_back_silences_no_chat() -> None:
    pace.moves("7", ["1"])
    pace.book("7", {"1": 1})
    Chat.objects.update(free_at=Chat.objects.get().free_at + 3_600)
    assert pace.book("7", {"1": 1}) == {"1": 0}


FORKING = """
import os, sys
from dsn_telegram import TelegramOptions
from dsn_telegram.bot import Bot

options = TelegramOptions(BOT_TOKEN=sys.argv[1], API_BASE=sys.argv[2])

def call_often():
    ids = []
    for number in range(20):
        answer = Bot(options).call("sendMessage", {"chat_id": os.getpid(), "text": str(number)})
        assert answer.ok and answer.result["text"] == str(number), answer

call_often()
child = os.fork()
call_often()
if child == 0:
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_connection_does_not_cross_a_fork(api: Any, telegram: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, telegram["BOT_TOKEN"], api.url],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(api.calls) == 60
