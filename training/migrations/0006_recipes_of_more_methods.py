"""A recipe that ships for each of the methods that came with 0005, and LoRA on quantized models."""

from django.db import migrations

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
RECIPES = [
    {
        "name": "pretrain",
        "display_name": "Continued Pre-Training",
        "method": "pretrain",
        "description": "Reads plain text on and on, as the model did when it was made. For the "
        "language of a field, before it is taught to answer.",
        "defaults": {
            "train": {"learning_rate": 1e-5, "lr_scheduler_type": "cosine", "num_train_epochs": 1},
        },
    },
    {
        "name": "dpo",
        "display_name": "DPO",
        "method": "dpo",
        "supports_quantized": True,
        "description": "Learns from pairs of answers which of them people prefer. Trains an "
        "adapter, unless use_peft is off.",
        "defaults": {
            "train": {
                "learning_rate": 1e-5,
                "lr_scheduler_type": "cosine",
                "num_train_epochs": 1,
                "beta": 0.1,
                "use_peft": True,
            },
            "lora": LORA,
        },
    },
    {
        "name": "orpo",
        "display_name": "ORPO",
        "method": "orpo",
        "supports_quantized": True,
        "description": "Learns to answer, and which of two answers is preferred, in one go.",
        "defaults": {
            "train": {
                "learning_rate": 5e-5,
                "lr_scheduler_type": "cosine",
                "num_train_epochs": 1,
                "beta": 0.1,
                "use_peft": True,
            },
            "lora": LORA,
        },
    },
    {
        "name": "kto",
        "display_name": "KTO",
        "method": "kto",
        "supports_quantized": True,
        "description": "Learns from single answers that somebody found good or bad.",
        "defaults": {
            "train": {
                "learning_rate": 1e-5,
                "lr_scheduler_type": "cosine",
                "num_train_epochs": 1,
                "beta": 0.1,
                "use_peft": True,
            },
            "lora": LORA,
        },
    },
    {
        "name": "text-classification",
        "display_name": "Text Classification",
        "method": "text_classification",
        "description": "Learns which label belongs to a text.",
        "defaults": {
            "train": {
                "learning_rate": 2e-5,
                "lr_scheduler_type": "linear",
                "num_train_epochs": 3,
                "global_batch_size": 16,
            },
        },
    },
    {
        "name": "image-classification",
        "display_name": "Image Classification",
        "method": "image_classification",
        "modality": "image",
        "description": "Learns which class an image belongs to: a folder of images for each class.",
        "defaults": {
            "train": {
                "learning_rate": 5e-5,
                "lr_scheduler_type": "linear",
                "num_train_epochs": 3,
                "global_batch_size": 16,
            },
        },
    },
]


def make(apps, schema_editor):
    recipe = apps.get_model("training", "Recipe")
    for fields in RECIPES:
        recipe.objects.get_or_create(name=fields["name"], project=None, defaults={**fields, "built_in": True})
    # Refused before: whether the libraries for it are there is preflight's matter now.
    recipe.objects.filter(name="lora", built_in=True).update(supports_quantized=True)


class Migration(migrations.Migration):
    dependencies = [("training", "0005_more_methods")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
