from django.db import migrations

from dsn_core.models.sparse import SparseIndex, SparseUniqueConstraint


class Migration(migrations.Migration):
    dependencies = [
        ("dsn_core", "0003_profile_and_reports"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="delivery", name="dsn_delivery_provider"),
        migrations.AddIndex(
            model_name="delivery",
            index=SparseIndex(fields=["provider_id"], name="dsn_delivery_provider"),
        ),
        # By hand: Django takes a constraint of another class for the same one.
        migrations.RemoveConstraint(model_name="delivery", name="dsn_delivery_user_once"),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=SparseUniqueConstraint(fields=("occurrence", "backend", "user"), name="dsn_delivery_user_once"),
        ),
        migrations.RemoveConstraint(model_name="delivery", name="dsn_delivery_address_once"),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=SparseUniqueConstraint(
                fields=("occurrence", "backend", "address_key"), name="dsn_delivery_address_once"
            ),
        ),
    ]
