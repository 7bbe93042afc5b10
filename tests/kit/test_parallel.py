"""Work for many items at the same time."""

from __future__ import annotations

import threading

import pytest

from dsn_core.kit import in_parallel


def test_never_more_than_asked_are_under_way_and_all_are_done() -> None:
    lock = threading.Lock()
    now: set[int] = set()
    most = 0
    both = threading.Barrier(3)

    def work(item: int) -> int:
        nonlocal most
        with lock:
            now.add(item)
            most = max(most, len(now))
        if item < 3:
            # They meet, so that three really are under way together.
            both.wait(20)
        with lock:
            now.discard(item)
        return item * 2

    answers = {item: future.result() for item, future in in_parallel(work, range(20), 3)}
    assert answers == {item: item * 2 for item in range(20)}
    assert most == 3


def test_what_is_raised_is_the_item_s_own() -> None:
    def work(item: str) -> str:
        if item == "bad":
            raise ValueError("no")
        return item

    answers = dict(in_parallel(work, ["good", "bad", "better"], 2))
    assert answers["good"].result() == "good"
    assert answers["better"].result() == "better"
    with pytest.raises(ValueError, match="no"):
        answers["bad"].result()


def test_when_it_is_not_to_go_on_only_what_was_begun_is_answered() -> None:
    begun: list[int] = []
    is_stopped = False
    found = in_parallel(begun.append, range(100), 4, go_on=lambda: not is_stopped)
    answered = [next(found)[0]]
    is_stopped = True
    answered += [item for item, _ in found]
    assert sorted(answered) == sorted(begun)
    assert len(begun) < 10


def test_one_that_is_closed_waits_for_what_is_under_way() -> None:
    may_end = threading.Event()
    ended: list[int] = []

    def work(item: int) -> None:
        if item:
            assert may_end.wait(20)
        ended.append(item)

    found = in_parallel(work, range(2), 2)
    assert next(found)[0] == 0
    threading.Timer(0.1, may_end.set).start()
    found.close()  # type: ignore[attr-defined]  # a generator
    assert sorted(ended) == [0, 1]


def test_nothing_to_do_is_nothing() -> None:
    assert list(in_parallel(print, [], 5)) == []
