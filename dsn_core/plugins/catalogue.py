"""The catalogue of signals: which verb stands for which signal."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from django.dispatch import Signal

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import ConfigurationError, UnknownName
from dsn_core.signals import catalogue_changed


class Catalogue:
    """Signal registrations by verb. Filled by plugins, and by hand with :func:`register_signal`."""

    def __init__(self) -> None:
        self._by_name: dict[str, SignalRegistration] = {}
        self._from_plugins: set[str] = set()
        self._lock = threading.Lock()

    def add(self, registration: SignalRegistration, *, by_plugin: bool = False) -> SignalRegistration:
        """Add ``registration``, and return what holds under its name.

        Another signal of a name that is taken is refused. What a plugin said of a signal stays as it
        is: Django's own signals can be registered by hand, as the predecessor did, without losing it.
        """
        with self._lock:
            held = self._by_name.get(registration.name)
            if held is not None and held.signal is not registration.signal:
                raise ConfigurationError(
                    f"The verb {registration.name!r} already stands for another signal; choose another name."
                )
            if held is not None and registration.name in self._from_plugins and not by_plugin:
                return held
            self._by_name = {**self._by_name, registration.name: registration}
            if by_plugin:
                self._from_plugins.add(registration.name)
        if held != registration:
            catalogue_changed.send(sender=type(self))
        return registration

    def remove(self, name: str) -> None:
        """Forget the verb ``name``, if it is known."""
        with self._lock:
            self._by_name = {key: value for key, value in self._by_name.items() if key != name}
            self._from_plugins.discard(name)
        catalogue_changed.send(sender=type(self))

    def find(self, name: str) -> SignalRegistration | None:
        """The registration of the verb ``name``, or None."""
        return self._by_name.get(name)

    def get(self, name: str) -> SignalRegistration:
        """The registration of the verb ``name``, or :class:`~dsn_core.exceptions.UnknownName`."""
        found = self._by_name.get(name)
        if found is None:
            raise UnknownName(
                "verb",
                name,
                self._by_name,
                advice="Register its signal with register_signal() or the dsn_signals hook.",
            )
        return found

    def names(self) -> list[str]:
        """All verbs, sorted."""
        return sorted(self._by_name)

    def __iter__(self) -> Iterator[SignalRegistration]:
        return iter(self._by_name.values())


catalogue = Catalogue()


def register_signal(
    name: str,
    signal: Signal,
    *,
    provides: Iterable[str] | None = None,
    action_object: str | None = None,
    actor_object: str | None = None,
    target: str | None = None,
    plain: Iterable[str] = (),
) -> SignalRegistration:
    """Make ``signal`` known as the verb ``name``, e.g. in ``AppConfig.ready()``.

    ``provides`` lists the arguments it is sent with; None means that they are not known, and then
    nothing is refused for a lack of them. The other three name the arguments that play these
    parts; by default the action object is the argument ``instance``, else the sender, and the
    others are the arguments of their own names. ``plain`` lists arguments whose names sound secret, such as ``token``,
    and which are stored all the same, because messages need them.

    Registering the same again changes nothing; another signal under a name that is taken raises
    :class:`~dsn_core.exceptions.ConfigurationError`.
    """
    return catalogue.add(
        SignalRegistration(
            name,
            signal,
            provides=provides,
            action_object=action_object,
            actor_object=actor_object,
            target=target,
            plain=plain,
        )
    )
