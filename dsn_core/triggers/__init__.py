"""From a sent signal to the triggers that match it.

:mod:`connections` (which signals are connected, for which senders) → :mod:`dispatch` → :mod:`matcher` (from a signal
to the triggers that match) → :mod:`dsn_core.intake`. What this process knows of the triggers is in :mod:`cache`;
:mod:`refresh_hooks` says when it is read again.
"""
