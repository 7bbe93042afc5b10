"""What an operator must know before all else: that nothing is sent, and why."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _

from dsn_core.admin.display import lasting
from dsn_core.pipeline import standstill


def alerts(using: str) -> Iterator[str]:
    """Why nothing is sent, in the reader's language."""
    found = standstill.find(using)
    if found is None:
        return
    late = _("Messages wait for %(time)s, and nothing is sent.") % {"time": lasting(found.late)}
    if found.unseen is None:
        yield f"{late} {_('No worker was ever seen.')}"
    else:
        yield f"{late} {_('No worker was seen for %(time)s.') % {'time': lasting(found.unseen)}}"
