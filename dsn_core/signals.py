"""Django signals that dsn-core sends.

They are sent with ``send_robust``: an error of a receiver is logged and goes no further.
"""

from __future__ import annotations

from django.dispatch import Signal

#: An event was recorded, in the transaction of the code that fired the signal.
#: Arguments: ``events`` (list of ``Event``), ``using`` (database alias). Sender: ``Event``.
event_recorded = Signal()

#: Events could not be recorded for too long and were given up: they have no rows. Arguments: ``events`` (list of
#: ``Event``, not saved), ``using`` (database alias), ``reason``. Sender: ``Event``. Sent in any thread.
events_dropped = Signal()

#: A worker brought a delivery to a final status. Arguments: ``delivery``. Sender: ``Delivery``.
delivery_finished = Signal()

#: An address cannot be used or refuses messages (``Receipt.invalid_address``); sent after the delivery was settled.
#: Arguments: ``delivery``, ``messenger`` (its alias), ``address``, ``user`` (or None), ``reason``. Sender:
#: ``Delivery``.
address_refused = Signal()

#: A provider reported the fate of a message that it had taken. Arguments: ``delivery``, ``state``
#: (``"delivered"`` or ``"undelivered"``), ``reason``. Sender: ``Delivery``.
delivery_reported = Signal()

#: A messenger asked for a pause. Arguments: ``messenger`` (its alias), ``seconds``, ``reason``.
#: Sender: ``MessengerState``.
messenger_paused = Signal()

#: A trigger or subscription was created, edited or deleted in this process, inside the editing
#: transaction. Arguments: ``using``, ``trigger_ids`` (a collection, or None for "any").
#: Sender: the model. For dsn-core's own index; not part of the public API.
configuration_changed = Signal()

#: A signal was registered or forgotten in this process. Sender: the catalogue's class. Not part of
#: the public API either.
catalogue_changed = Signal()
