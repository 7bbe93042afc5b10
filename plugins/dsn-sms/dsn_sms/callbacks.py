"""What the readers of all providers' callbacks share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from dsn_sms.exceptions import Unreadable


def json_object(request: HttpRequest) -> Mapping[str, Any]:
    """The body as a JSON object. Raises :class:`Unreadable`."""
    try:
        said = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Unreadable("Its body is no JSON.") from None
    if not isinstance(said, dict):
        raise Unreadable("Its body is no JSON object.")
    return said
