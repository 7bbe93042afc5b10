"""The clock, and the UUIDs that begin with it."""

from __future__ import annotations

import os
import threading
import time
import uuid

import pytest

from dsn_core.models import Event, clock
from dsn_core.models.clock import uuid7


def milliseconds(found: uuid.UUID) -> int:
    return found.int >> 80


def test_the_bits_are_those_of_the_rfc() -> None:
    before = time.time_ns() // 1_000_000
    found = [uuid7() for _ in range(1_000)]
    after = time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in found} == {(7, uuid.RFC_4122)}
    assert before <= milliseconds(found[0]) <= milliseconds(found[-1]) <= after
    assert len({each.int & (1 << 62) - 1 for each in found}) == 1_000, "the tail is random"


def test_each_is_greater_than_the_one_before() -> None:
    found = [uuid7() for _ in range(20_000)]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert [each.bytes for each in found] == sorted(each.bytes for each in found)
    assert [each.hex for each in found] == sorted(each.hex for each in found)


@pytest.mark.parametrize("back", [0, 3_600])
def test_a_clock_that_stands_or_is_set_back_does_not_disturb_the_order(
    monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    # Ahead of what other tests saw.
    now = time.time_ns() + 60 * 10**9
    monkeypatch.setattr(clock, "_uuid_last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: now)
    found = [uuid7() for _ in range(10)]
    monkeypatch.setattr(time, "time_ns", lambda: now - back * 10**9)
    found += [uuid7() for _ in range(10)]
    assert found == sorted(set(found))
    assert {milliseconds(each) for each in found} <= {now // 1_000_000, now // 1_000_000 + 1}


def test_a_millisecond_that_is_full_goes_on_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(clock, "_uuid_last", 0)
    monkeypatch.setattr(time, "time_ns", lambda: now)
    found = [uuid7() for _ in range(5_000)]
    assert found == sorted(set(found))
    assert milliseconds(found[-1]) - milliseconds(found[0]) in (1, 2)
    assert {(each.version, each.variant) for each in found} == {(7, uuid.RFC_4122)}


def test_threads_get_different_ones_each_in_order() -> None:
    found: list[list[uuid.UUID]] = []

    def work() -> None:
        found.append([uuid7() for _ in range(5_000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(each == sorted(each) for each in found)
    assert len({one for each in found for one in each}) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="This system has no fork.")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_lock_goes_on() -> None:
    reading, writing = os.pipe()
    with clock._uuid_lock:
        if (child := os.fork()) == 0:
            try:
                os.write(writing, uuid7().bytes)
            finally:
                os._exit(0)
    try:
        end = time.monotonic() + 60
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(child, 9)
                os.waitpid(child, 0)
                pytest.fail("The child waits for a lock of its parent.")
            time.sleep(0.01)
        assert uuid.UUID(bytes=os.read(reading, 16)).version == 7
    finally:
        os.close(reading)
        os.close(writing)


def test_an_event_that_is_given_none_gets_one() -> None:
    assert Event().occurrence.version == 7
