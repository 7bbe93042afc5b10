"""The runner for projects with Django Tasks: a small task in the project's own queue does the work."""

from __future__ import annotations

from django.core import checks
from django.db import connections, transaction

from dsn_core.contracts.runners import BaseRunner
from dsn_core.plugins.errors import describe
from dsn_core.runners import driver


class TasksRunner(BaseRunner):
    """Leaves the sending to the workers of Django Tasks."""

    name = "tasks"

    def wake(self, using: str) -> None:
        if driver.is_draining():
            return
        # The commit that woke us is done, but backends that keep their tasks in a database may do so in another
        # one, where the caller has a transaction open: a task in there could break it, or vanish with it.
        for connection in connections.all(initialized_only=True):
            if connection.alias != using and connection.in_atomic_block:
                # A function, not a partial: where one raises, Django asks for its name.
                transaction.on_commit(lambda: self.wake(using), using=connection.alias, robust=True)
                return
        # Making the task reads the setting TASKS, which may be wrong: that is this wake-up's error, not the import's.
        from dsn_core.runners.wakeups import work_off

        work_off.enqueue(using)

    @classmethod
    def check(cls) -> list[checks.CheckMessage]:
        """W006 when there is no Django Tasks or its setting does not do, W043 when nothing would run apart."""
        try:
            from dsn_core.runners import wakeups

            backend = wakeups.work_off.get_backend()
        except ModuleNotFoundError as error:
            return [_cannot_work(f"there is no module {error.name!r}", "Install dsn-core[tasks].")]
        except Exception as error:
            hint = "Mend TASKS['default'] in the settings. Until then messages wait for 'manage.py dsn_worker'."
            return [_cannot_work(describe(error), hint)]
        said = {wakeups.ImmediateBackend: "sends in the process that fired the signal, before it goes on"}
        said[wakeups.DummyBackend] = "runs no task: no message is sent"
        return [
            checks.Warning(
                f"DSN['RUNNER'] is 'tasks', and TASKS['default'] is Django's {kind.__name__}, which {what}.",
                hint="Use a backend that has workers, such as django_tasks_db.DatabaseBackend.",
                id="dsn.W043",
            )
            for kind, what in said.items()
            if isinstance(backend, kind)
        ]


def _cannot_work(why: str, hint: str) -> checks.CheckMessage:
    return checks.Warning(
        f"DSN['RUNNER'] is 'tasks', but Django Tasks cannot be used: {why}.", hint=hint, id="dsn.W006"
    )
