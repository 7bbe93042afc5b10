import django.utils.timezone
import dsn_core.models.expiry
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("dsn_core", "0006_occurrences_in_order"),
    ]

    operations = [
        migrations.CreateModel(
            name="Environment",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("adopted_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="adopted")),
            ],
            options={
                "verbose_name": "environment",
                "verbose_name_plural": "environments",
            },
        ),
        migrations.CreateModel(
            name="WorkerHeartbeat",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("host", models.CharField(max_length=255, verbose_name="host")),
                ("process", models.PositiveBigIntegerField(verbose_name="process")),
                ("version", models.CharField(blank=True, max_length=50, verbose_name="version")),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="started")),
                ("seen_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="last seen")),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "ordering": ["-seen_at"],
            },
        ),
        migrations.AddField(
            model_name="delivery",
            name="expires_at",
            field=models.DateTimeField(
                blank=True, help_text="From then on it is not sent any more.", null=True, verbose_name="expires"
            ),
        ),
        migrations.AddField(
            model_name="subscription",
            name="expires",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="So long after the event a message is old news, and not sent any more: 15m, 2h, 3d, 4w. Empty: as its message template says, if it does.",
                max_length=7,
                validators=[dsn_core.models.expiry.check_expiry],
                verbose_name="expires",
            ),
        ),
    ]
