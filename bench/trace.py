"""``python -m bench.trace [--list]``: through how many functions of ours a signal passes, on SQLite.

From ``post_save.send()`` to the event's row, and after the commit until a worker has sent the one message to the one
receiver. Counted are distinct functions whose source is in ``dsn_core/``, and their files; generators and
comprehensions are part of the function around them. Both paths are taken once before, so that no cache is empty.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType

FOLDER = str(Path(__file__).resolve().parents[1] / "dsn_core") + os.sep


def functions_of(work: Callable[[], object]) -> list[CodeType]:
    """The functions of ours that ``work`` calls, in any thread, in the order of their first calls."""
    found: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        # Lambdas are counted; "<listcomp>", "<genexpr>" and the like are no functions to a reader.
        is_function = code.co_name == "<lambda>" or not code.co_name.startswith("<")
        if event == "call" and is_function and code.co_filename.startswith(FOLDER):
            found.setdefault(code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return list(found)


def report(name: str, functions: list[CodeType], *, as_list: bool) -> Iterator[str]:
    """The lines to print of what was found."""
    files = dict.fromkeys(code.co_filename for code in functions)
    yield f"{name}: {len(functions)} functions in {len(files)} files"
    if as_list:
        for file in files:
            names = ", ".join(
                code.co_qualname.replace(".<locals>", "") for code in functions if code.co_filename == file
            )
            yield f"  {file.removeprefix(FOLDER)}: {names}"


def main(arguments: list[str]) -> int:
    """Trace one event with one receiver, and print the counts."""
    parser = argparse.ArgumentParser(prog="python -m bench.trace", description="Count the functions on a signal's way.")
    parser.add_argument("--list", action="store_true", help="name them, by file")
    options = parser.parse_args(arguments)
    os.environ["DSN_BENCH_DATABASE"] = "sqlite"
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
    import django

    django.setup()

    from django.contrib.auth.models import User
    from django.db import connection, transaction
    from django.db.models.signals import post_save

    from bench.databases import made
    from bench.models import Watched
    from dsn_core.models import Delivery, Trigger
    from dsn_core.runners.worker import Worker

    with made():
        user = User.objects.create(username="ann", email="ann@example.org")
        Trigger.objects.define("post_save", action_object=Watched).subscribe(
            users=[user], backends=[("nothing", "greeting")]
        )
        film = Watched.objects.create(name="Alien")
        Worker("default").drain()

        def send() -> None:
            post_save.send(
                sender=Watched, instance=film, created=False, raw=False, using=connection.alias, update_fields=None
            )

        with transaction.atomic():
            caller = functions_of(send)
        worker = functions_of(lambda: Worker("default").drain())
        assert Delivery.objects.filter(status="sent").count() == 2
    for name, functions in (("in the caller", caller), ("after the commit", worker)):
        print(*report(name, functions, as_list=options.list), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
