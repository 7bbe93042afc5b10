"""Warnings above the admin's pages that nothing is sent, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from dsn_core.admin.display import lasting
from dsn_core.queue import environment, standstill


def alerts(using: str) -> Iterator[str]:
    """The reasons why nothing is sent, in the reader's language."""
    if (mismatch := environment.find(using)) is not None:
        yield _of_environment(mismatch)
    if (found := standstill.find(using)) is not None:
        yield _of_workers(found)


def _of_environment(mismatch: environment.Mismatch) -> str:
    words = {"remembered": mismatch.remembered, "setting": mismatch.setting}
    if not mismatch.remembered:
        text = _("Nothing is sent: the database has sent messages before it knew the environment %(setting)s.")
    elif mismatch.setting:
        text = _("Nothing is sent: the database belongs to the environment %(remembered)s, and this is %(setting)s.")
    else:
        text = _("Nothing is sent: the database belongs to the environment %(remembered)s, and this one has no name.")
    way_out = _("To send messages from here, run manage.py dsn_adopt.")
    return f"{text % words} {way_out}"


def _of_workers(found: standstill.Standstill) -> str:
    late = _("Messages have been waiting for %(time)s, and nothing is sent.") % {"time": lasting(found.late)}
    if found.unseen is None:
        unseen = _("No worker was ever seen.")
    else:
        unseen = _("No worker was seen for %(time)s.") % {"time": lasting(found.unseen)}
    return f"{late} {unseen}"
