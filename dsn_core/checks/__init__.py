"""The system checks: what ``manage.py check`` says about the settings, the plugins and the stored rows.

Their ids are stable: projects silence them by id (``SILENCED_SYSTEM_CHECKS``). None of them raises,
whatever a plugin does. What is a plugin's fault is a warning, since an error stops every command of the site;
with ``--deploy`` one error counts these. Those that ask no database have the tag ``dsn``
(``manage.py check --tag dsn``).

=========  ==========================================================================================
id         what it says
=========  ==========================================================================================
dsn.E001   The setting ``DSN`` is not a dict. The defaults are used.
dsn.E002   ``DSN`` has a key that is not a setting of dsn-core.
dsn.E003   The value of a setting cannot be used. Its default is; a ``PLUGINS`` that cannot be read
           allows nothing.
dsn.W004   ``DSN["RUNNER"]`` names no installed runner: messages wait for a worker.
dsn.E005   ``DSN["PROFILE_MODEL"]`` names no model, or one without a one-to-one relation to the user.
dsn.W006   The runner that ``DSN["RUNNER"]`` names cannot work here, as ``tasks`` without Django Tasks.
dsn.W007   A path of ``ADDRESSES``, ``LANGUAGE_PATH`` or ``TIME_ZONE_PATH`` leads nowhere from the user,
           or ``ADDRESSES`` names no messenger. A warning: messages wait until it is mended.
dsn.W008   A messenger looks for addresses in a field that ``PROFILE_MODEL`` does not have.
dsn.W010   A plugin is broken: it cannot be imported, lacks its app, or does not keep its contract.
           Nothing of it is used; all other plugins work.
dsn.W011   A plugin implements a hook that does not exist, or forgot to mark one; or misspelt an attribute of a class.
dsn.W012   A plugin offers a name that another plugin holds. The name is the other's.
dsn.W013   ``DSN["PLUGINS"]`` or ``DSN["DISABLED_PLUGINS"]`` names a plugin that was not found.
dsn.E015   Faults of plugins and of the runner, counted (with ``--deploy``).
dsn.E016   The events are in SQLite, and it is older than 3.33: nothing could be sent.
dsn.W014   A model's ``dsn_sensitive_fields`` names what is no field of it, so that a secret is stored.
dsn.W020   A messenger, or an account of one, is not configured. Not said of a messenger of which
           only accounts are configured. What a messenger's own check says has ids of its own
           (with ``--deploy``; of those that a stored backend names, also with ``--database``).
dsn.W021   A key of ``DSN["MESSENGERS"]`` is no installed messenger. A warning, because options stay
           in the settings while their plugin is disabled, not allowed, or not installed here.
dsn.W022   A message template cannot be compiled. A warning, because one plugin's template must not
           keep a project from starting.
dsn.W030   A stored backend names a messenger or message template that is not installed (*).
dsn.W031   A stored trigger names a verb that is not registered, or a model that is gone (*).
dsn.W032   A stored subscription names a receiver resolver or messenger that is not installed (*).
dsn.W040   ``DSN["RUNNER"]`` is ``immediate`` in production (with ``--deploy``).
dsn.W041   The events are in SQLite, its transactions do not begin as ``IMMEDIATE``, and another
           process sends (the runner is not ``immediate``).
dsn.W042   A stored trigger is about a model in another database than the events (*).
dsn.W043   ``DSN["RUNNER"]`` is ``tasks``, and Django Tasks would run nothing apart from the caller.
dsn.W044   ``DSN["ENVIRONMENT"]`` is not set (with ``--deploy``).
dsn.W045   The database belongs to another environment, and nothing is sent (with ``--deploy``; asks the
           database).
dsn.W046   Messages are due, and no worker was seen (with ``--deploy``; asks the database).
dsn.W047   The database of the events has a connection pool that is smaller than the number of threads of
           a worker (``RUNNER`` is ``worker``).
=========  ==========================================================================================

(*) Asks the database, and therefore only with ``manage.py check --database default``. A table that
is missing is no finding: ``migrate`` runs these checks too.
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
    """Register every check with Django. Doing it again changes nothing."""
    for check in (check_settings, check_models, check_plugins, check_paths, check_database):
        register(check, TAG)
    for check in (check_deployment, check_running):
        register(check, TAG, deploy=True)
    # Without our tag: from Django 6.1 on, --tag hands every database to the checks that it selects.
    register(check_stored, Tags.database)
