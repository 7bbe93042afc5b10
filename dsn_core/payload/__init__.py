"""How what a signal said survives in an event's row: as JSON text, bounded, without secrets.

``dump`` runs in the caller, ``load`` in a runner. Where plain JSON does not do, the format is
``{"$": kind, ...}`` with the kinds of :mod:`~dsn_core.payload.encoding`, or ``{"$codec": name, "v": data}``.
"""

from __future__ import annotations

from dsn_core.payload.decoding import load
from dsn_core.payload.dumping import dump
from dsn_core.payload.placeholders import Missing, Placeholder, lost_in, missing_in
from dsn_core.payload.snapshots import rebuilding

__all__ = ["Missing", "Placeholder", "dump", "load", "lost_in", "missing_in", "rebuilding"]
