"""The payload of an event: the signal's parts and arguments as JSON text, bounded and without secrets.

``dump`` runs in the caller, ``load`` in a runner. Values that are not plain JSON are stored as ``{"$": kind, ...}``
with the kinds of :mod:`~dsn_core.payload.encoding`, or as ``{"$codec": name, "v": data}``.
"""

from __future__ import annotations

from dsn_core.payload.decoding import load
from dsn_core.payload.dumping import dump
from dsn_core.payload.placeholders import Missing, Placeholder, lost_in, missing_in
from dsn_core.payload.snapshots import rebuilding

__all__ = ["Missing", "Placeholder", "dump", "load", "lost_in", "missing_in", "rebuilding"]
