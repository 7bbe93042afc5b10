"""From a sent signal to the triggers that match it.

:mod:`connections` (which signals are connected, for which senders) → :mod:`signal_receivers` → :mod:`matcher` (from a
signal to the triggers that match) → :mod:`dsn_core.intake`. :mod:`cache` holds the triggers in this process;
:mod:`refresh_hooks` has them read again.
"""
