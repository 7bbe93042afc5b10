from django.db import migrations, models

import dsn_core.models.clock


class Migration(migrations.Migration):
    """Another default, which the database does not know: no statement."""

    dependencies = [
        ("dsn_core", "0005_changes_as_rows"),
    ]

    operations = [
        migrations.AlterField(
            model_name="event",
            name="occurrence",
            field=models.UUIDField(
                db_index=True,
                default=dsn_core.models.clock.uuid7,
                help_text="Shared by all events of one signal.",
                verbose_name="occurrence",
            ),
        ),
    ]
