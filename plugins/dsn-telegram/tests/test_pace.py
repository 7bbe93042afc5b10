"""The turns of chats, which all workers share."""

from __future__ import annotations

import threading

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
