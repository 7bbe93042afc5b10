"""The runner ``celery``."""

from __future__ import annotations

from celery import current_app
from django.core.checks import CheckMessage, Error, Warning

from dsn_celery import names
from dsn_celery.publisher import publisher
from dsn_core import BaseRunner


class CeleryRunner(BaseRunner):
    """Leaves the work to Celery's workers."""

    name = "celery"

    def wake(self, using: str) -> None:
        # The tasks are made for the app that is current, so that a project can import us before it has made its own.
        from dsn_celery.tasks import fan_out

        publisher.publish(fan_out, using)

    @classmethod
    def check(cls) -> list[CheckMessage]:
        """What Celery's configuration lacks; the broker is not asked."""
        app = current_app._get_current_object()
        if app.main == "default":
            hint = "Make it in a module 'celery' of the project, and import that in the project's __init__.py."
            return [Error("DSN['RUNNER'] is 'celery', but there is no Celery app.", hint=hint, id="dsn_celery.E001")]
        found: list[CheckMessage] = []
        if not {"json", "application/json"} & set(app.conf.accept_content):
            message = f"The Celery app {app.main!r} does not accept JSON, which the tasks of dsn-celery are sent as."
            found.append(Error(message, hint="Add 'json' to accept_content.", id="dsn_celery.E002"))
        if app.conf.task_always_eager:
            message = "task_always_eager is set: messages are sent in the process that fired the signal."
            found.append(Warning(message, hint="Leave it to tests.", id="dsn_celery.W003"))
        if not _is_swept(app):
            message = "No entry of beat_schedule runs the sweep: retries and lost wake-ups are not picked up."
            hint = "Add dsn_celery.beat_schedule() to it and run 'celery beat', or keep 'manage.py dsn_worker' running."
            found.append(Warning(message, hint=f"{hint} In the latter case, silence this.", id="dsn_celery.W004"))
        return found


def _is_swept(app: object) -> bool:
    conf = app.conf  # type: ignore[attr-defined]
    # A scheduler that reads its entries from elsewhere, such as django-celery-beat, is not asked.
    if not str(conf.beat_scheduler).startswith("celery."):
        return True
    return any(entry.get("task") == names.SWEEP for entry in conf.beat_schedule.values())
