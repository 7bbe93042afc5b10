"""How what a signal said survives in an event's row: as JSON text, bounded, without secrets.

``dump`` runs in the caller, ``load`` in a runner. The format, where plain JSON does not do, is
``{"$": kind, "v": data}``; kinds are those of :mod:`~dsn_core.payload.encoding` and the names of codecs.
"""

from __future__ import annotations

from dsn_core.payload.decoding import load
from dsn_core.payload.encoding import dump
from dsn_core.payload.snapshots import rebuilding

__all__ = ["dump", "load", "rebuilding"]
