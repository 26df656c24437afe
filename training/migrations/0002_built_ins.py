"""The recipes that ship, one per method, and the partition that a single machine is in."""

from django.db import migrations

RECIPES = [
    {
        "name": "full",
        "display_name": "Full Fine-Tune",
        "method": "full",
        "supports_quantized": False,
        "description": "Trains every weight. The most thorough way, and the one that needs most memory.",
        "defaults": {
            "train": {"learning_rate": 2e-5, "lr_scheduler_type": "cosine", "num_train_epochs": 3},
        },
    },
    {
        "name": "lora",
        "display_name": "LoRA",
        "method": "lora",
        "supports_quantized": False,
        "description": "Trains a small addition and leaves the model as it is. Needs little memory.",
        "defaults": {
            "train": {"learning_rate": 2e-4, "lr_scheduler_type": "cosine", "num_train_epochs": 3},
            "lora": {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
        },
    },
    {
        "name": "qlora",
        "display_name": "QLoRA",
        "method": "qlora",
        "supports_quantized": False,
        "description": "LoRA on a model that is held in 4 bits. For models that barely fit.",
        "defaults": {
            "train": {"learning_rate": 2e-4, "lr_scheduler_type": "cosine", "num_train_epochs": 3},
            "lora": {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"},
        },
    },
]


def make(apps, schema_editor):
    recipe = apps.get_model("training", "Recipe")
    for fields in RECIPES:
        recipe.objects.get_or_create(name=fields["name"], project=None, defaults={**fields, "built_in": True})
    apps.get_model("training", "Partition").objects.get_or_create(
        name="default", defaults={"description": "The workers that name no other partition."}
    )


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
