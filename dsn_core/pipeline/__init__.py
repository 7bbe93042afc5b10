"""From an event to a settled delivery, one module a step:

:mod:`fanout` → :mod:`sending` (which uses :mod:`rendering`) → :mod:`settling`;
:mod:`run` is the loop that runners call.
"""
