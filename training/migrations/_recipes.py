"""The recipes that ship, one per method."""

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
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
        "supports_quantized": True,
        "description": "Trains a small addition and leaves the model as it is. Needs little memory.",
        "defaults": {
            "train": {"learning_rate": 2e-4, "lr_scheduler_type": "cosine", "num_train_epochs": 3},
            "lora": LORA,
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
            "lora": LORA,
        },
    },
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
