"""The system checks of the settings, the plugins and the stored rows, for ``manage.py check``.

Their ids are stable: projects silence them by id (``SILENCED_SYSTEM_CHECKS``). None of them raises, whatever a plugin
does. A plugin's fault is a warning, since an error stops every command of the site; with ``--deploy`` one error counts
these. Checks without queries have the tag ``dsn`` (``manage.py check --tag dsn``).

=========  ==========================================================================================
id         meaning
=========  ==========================================================================================
dsn.E001   The setting ``DSN`` is not a dict. The defaults are used.
dsn.E002   ``DSN`` has a key that is not a setting of dsn-core.
dsn.E003   The value of a setting cannot be used. Its default is used instead; an unusable ``PLUGINS``
           allows nothing.
dsn.W004   ``DSN["RUNNER"]`` names no installed runner: messages wait for a worker.
dsn.E005   ``DSN["PROFILE_MODEL"]`` names no model, or one without a one-to-one relation to the user.
dsn.W006   The runner that ``DSN["RUNNER"]`` names cannot work here, as ``tasks`` without Django Tasks.
dsn.W007   A path of ``ADDRESSES``, ``LANGUAGE_PATH`` or ``TIME_ZONE_PATH`` leads nowhere from the user,
           or ``ADDRESSES`` names no messenger. A warning: messages wait until it is fixed.
dsn.W008   A messenger looks for addresses in a field that ``PROFILE_MODEL`` spells differently.
dsn.W009   A setting names the built-in profile, which the next release removes.
dsn.W010   A plugin is broken: it cannot be imported, lacks its app, or does not keep its contract.
           Nothing of it is used; all other plugins work.
dsn.W011   A plugin implements a hook that does not exist, or a hook without its marker, or misspells an attribute.
dsn.W012   A plugin offers a name that another plugin has. The other plugin keeps the name.
dsn.W013   ``DSN["PLUGINS"]`` or ``DSN["DISABLED_PLUGINS"]`` names a plugin that was not found.
dsn.E015   Faults of plugins and of the runner, counted (with ``--deploy``).
dsn.E016   The events are in SQLite, and it is older than 3.33: nothing could be sent.
dsn.W014   A model's ``dsn_sensitive_fields`` names something that is not a field: a secret may be stored.
dsn.W020   A messenger, or an account of one, is not configured. Not reported for a messenger of which
           only accounts are configured. A messenger's own checks have their own ids
           (with ``--deploy``; for those that a stored backend names, also with ``--database``).
dsn.W021   A key of ``DSN["MESSENGERS"]`` is no installed messenger. A warning, because options stay
           in the settings while their plugin is disabled, not allowed, or not installed here.
dsn.W022   A message template cannot be compiled. A warning, because one plugin's template must not
           keep a project from starting.
dsn.W030   A stored backend names a messenger or message template that is not installed (*).
dsn.W031   A stored trigger names a verb that is not registered, or a model that does not exist (*).
dsn.W032   A stored subscription names a receiver resolver or messenger that is not installed (*).
dsn.W040   ``DSN["RUNNER"]`` is ``immediate`` in production (with ``--deploy``).
dsn.W041   The events are in SQLite, its transactions do not begin as ``IMMEDIATE``, and another
           process sends (the runner is not ``immediate``).
dsn.W042   A stored trigger is about a model in another database than the events (*).
dsn.W043   ``DSN["RUNNER"]`` is ``tasks``, and Django Tasks would run nothing outside of the caller.
dsn.W044   ``DSN["ENVIRONMENT"]`` is not set (with ``--deploy``).
dsn.W045   The database belongs to another environment, and nothing is sent (with ``--deploy``; asks the
           database).
dsn.W046   Messages are due, and no worker was seen (with ``--deploy``; asks the database).
dsn.W047   The database of the events has a connection pool that is smaller than the number of threads of
           a worker (``RUNNER`` is ``worker``).
=========  ==========================================================================================

(*) Queries the database, and so runs only with ``manage.py check --database default``. A missing table is not
reported: ``migrate`` runs these checks, too.
"""

from __future__ import annotations

from typing import Final

from django.core.checks import Tags, register

from dsn_core.checks.configuration import check_database, check_models, check_settings
from dsn_core.checks.deployment import check_deployment
from dsn_core.checks.installed import check_plugins
from dsn_core.checks.paths import check_paths
from dsn_core.checks.running import check_running
from dsn_core.checks.stored import check_stored

TAG: Final = "dsn"


def register_all() -> None:
    """Register every check with Django. May be called again."""
    for check in (check_settings, check_models, check_plugins, check_paths, check_database):
        register(check, TAG)
    for check in (check_deployment, check_running):
        register(check, TAG, deploy=True)
    # Without our tag: from Django 6.1 on, --tag passes every database to the checks that it selects.
    register(check_stored, Tags.database)
