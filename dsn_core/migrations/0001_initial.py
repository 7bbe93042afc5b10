import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ConfigurationVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.BigIntegerField(verbose_name="number")),
            ],
            options={
                "verbose_name": "configuration version",
                "verbose_name_plural": "configuration version",
            },
        ),
        migrations.CreateModel(
            name="MessengerState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("messenger", models.CharField(max_length=100, unique=True, verbose_name="messenger")),
                ("paused_until", models.DateTimeField(blank=True, null=True, verbose_name="paused until")),
                ("pause_reason", models.TextField(blank=True, verbose_name="reason of the pause")),
                ("rate_next_at", models.DateTimeField(blank=True, null=True, verbose_name="next at its rate")),
            ],
            options={
                "verbose_name": "messenger state",
                "verbose_name_plural": "messenger states",
                "ordering": ["messenger"],
            },
        ),
        migrations.CreateModel(
            name="Trigger",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "verb",
                    models.CharField(help_text="The registered name of a signal.", max_length=100, verbose_name="verb"),
                ),
                (
                    "action_object_model",
                    models.CharField(
                        blank=True,
                        help_text="The model the signal is about, as app.model. Empty: any. Model signals need one.",
                        max_length=255,
                        verbose_name="action object's model",
                    ),
                ),
                (
                    "action_object_pk",
                    models.CharField(
                        blank=True,
                        help_text="Only this one instance. Empty: any.",
                        max_length=255,
                        verbose_name="action object's key",
                    ),
                ),
                (
                    "actor_object_model",
                    models.CharField(
                        blank=True,
                        help_text="Who did it, as app.model. Empty: anybody.",
                        max_length=255,
                        verbose_name="actor object's model",
                    ),
                ),
                (
                    "actor_object_pk",
                    models.CharField(
                        blank=True,
                        help_text="Only this one actor. Empty: any.",
                        max_length=255,
                        verbose_name="actor object's key",
                    ),
                ),
                (
                    "target",
                    models.CharField(
                        blank=True, help_text="Only this target. Empty: any.", max_length=255, verbose_name="target"
                    ),
                ),
                ("enabled", models.BooleanField(default=True, verbose_name="enabled")),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
            ],
            options={
                "verbose_name": "trigger",
                "verbose_name_plural": "triggers",
                "ordering": ["verb", "id"],
            },
        ),
        migrations.CreateModel(
            name="Backend",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "messenger",
                    models.CharField(
                        help_text="A messenger, or an account of one.", max_length=100, verbose_name="messenger"
                    ),
                ),
                ("message_template", models.CharField(max_length=100, verbose_name="message template")),
            ],
            options={
                "verbose_name": "backend",
                "verbose_name_plural": "backends",
                "ordering": ["messenger", "message_template"],
                "constraints": [
                    models.UniqueConstraint(fields=("messenger", "message_template"), name="dsn_backend_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        blank=True,
                        help_text="Tells the subscriptions of one trigger apart.",
                        max_length=100,
                        verbose_name="name",
                    ),
                ),
                ("enabled", models.BooleanField(default=True, verbose_name="enabled")),
                (
                    "resolver",
                    models.CharField(
                        blank=True,
                        help_text="Chooses more receivers when the event happens.",
                        max_length=100,
                        verbose_name="receiver resolver",
                    ),
                ),
                (
                    "argument",
                    models.CharField(
                        blank=True,
                        help_text="What the resolver needs, e.g. a path: movie.audiences",
                        max_length=255,
                        verbose_name="argument",
                    ),
                ),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "high"), (1, "normal"), (2, "low")], default=1, verbose_name="priority"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated")),
                (
                    "backends",
                    models.ManyToManyField(
                        blank=True, related_name="subscriptions", to="dsn_core.backend", verbose_name="backends"
                    ),
                ),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="All users of these groups get it, those who join later too.",
                        related_name="+",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "users",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Who gets it.",
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="users",
                    ),
                ),
                (
                    "trigger",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="subscriptions",
                        to="dsn_core.trigger",
                        verbose_name="trigger",
                    ),
                ),
            ],
            options={
                "verbose_name": "subscription",
                "verbose_name_plural": "subscriptions",
                "ordering": ["trigger", "name", "id"],
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "not_before",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it may be worked on; the end of the lease while a worker holds it; empty when finished.",
                        null=True,
                        verbose_name="not before",
                    ),
                ),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True, verbose_name="lease")),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("last_error", models.TextField(blank=True, verbose_name="last error")),
                (
                    "occurrence",
                    models.UUIDField(
                        db_index=True,
                        default=uuid.uuid4,
                        help_text="Shared by all events of one signal.",
                        verbose_name="occurrence",
                    ),
                ),
                ("verb", models.CharField(max_length=100, verbose_name="verb")),
                ("payload", models.TextField(editable=False, verbose_name="payload")),
                (
                    "depth",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="How many messages caused one another before this.", verbose_name="depth"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("expanding", "expanding"),
                            ("expanded", "expanded"),
                            ("failed", "failed"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_index=True, default=django.utils.timezone.now, verbose_name="created"),
                ),
                (
                    "trigger",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="events",
                        to="dsn_core.trigger",
                        verbose_name="trigger",
                    ),
                ),
            ],
            options={
                "verbose_name": "event",
                "verbose_name_plural": "events",
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "not_before",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it may be worked on; the end of the lease while a worker holds it; empty when finished.",
                        null=True,
                        verbose_name="not before",
                    ),
                ),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True, verbose_name="lease")),
                ("attempts", models.PositiveSmallIntegerField(default=0, verbose_name="attempts")),
                ("last_error", models.TextField(blank=True, verbose_name="last error")),
                ("occurrence", models.UUIDField(verbose_name="occurrence")),
                ("messenger", models.CharField(max_length=100, verbose_name="messenger")),
                ("address", models.CharField(blank=True, max_length=500, verbose_name="address")),
                ("address_key", models.CharField(editable=False, max_length=64, null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("sending", "sending"),
                            ("sent", "sent"),
                            ("retry", "retry"),
                            ("failed", "failed"),
                            ("skipped", "skipped"),
                            ("unknown", "unknown"),
                            ("cancelled", "cancelled"),
                        ],
                        default="pending",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "high"), (1, "normal"), (2, "low")], default=1, verbose_name="priority"
                    ),
                ),
                ("provider_id", models.CharField(blank=True, max_length=255, verbose_name="provider's id")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="created")),
                ("finished_at", models.DateTimeField(blank=True, null=True, verbose_name="finished")),
                (
                    "backend",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="deliveries",
                        to="dsn_core.backend",
                        verbose_name="backend",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="dsn_core.event",
                        verbose_name="event",
                    ),
                ),
            ],
            options={
                "verbose_name": "delivery",
                "verbose_name_plural": "deliveries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["messenger", "priority", "not_before", "id"], name="dsn_delivery_claim")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("occurrence", "backend", "user"), name="dsn_delivery_user_once"),
                    models.UniqueConstraint(
                        fields=("occurrence", "backend", "address_key"), name="dsn_delivery_address_once"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SubscriptionAddress",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "messenger",
                    models.CharField(
                        help_text="The messenger whose address it is, e.g. email.",
                        max_length=100,
                        verbose_name="messenger",
                    ),
                ),
                ("address", models.CharField(max_length=500, verbose_name="address")),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="addresses",
                        to="dsn_core.subscription",
                        verbose_name="subscription",
                    ),
                ),
            ],
            options={
                "verbose_name": "address",
                "verbose_name_plural": "addresses",
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(fields=("subscription", "messenger", "address"), name="dsn_address_unique")
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="subscription",
            constraint=models.UniqueConstraint(
                fields=("trigger", "name"),
                name="dsn_subscription_unique",
                violation_error_message="This trigger has a subscription of this name already; choose another name.",
            ),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["not_before", "id"], name="dsn_event_claim"),
        ),
    ]
