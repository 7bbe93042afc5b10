from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that may be empty: processes of the version before write none of them."""

    dependencies = [
        ("dsn_core", "0007_environment_heartbeat_expiry"),
    ]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="held_since",
            field=models.DateTimeField(
                blank=True,
                help_text="Since when it waits for something to be installed, or for a setting to be mended.",
                null=True,
                verbose_name="held since",
            ),
        ),
        migrations.AddField(
            model_name="delivery",
            name="paused_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When its messenger last asked for a pause at it.",
                null=True,
                verbose_name="asked for a pause",
            ),
        ),
        migrations.AddField(
            model_name="event",
            name="held_since",
            field=models.DateTimeField(
                blank=True,
                help_text="Since when it waits for something to be installed, or for a setting to be mended.",
                null=True,
                verbose_name="held since",
            ),
        ),
        migrations.AddField(
            model_name="messengerstate",
            name="paused_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="last asked for a pause"),
        ),
        migrations.AddField(
            model_name="messengerstate",
            name="sent_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="sent after a pause"),
        ),
    ]
