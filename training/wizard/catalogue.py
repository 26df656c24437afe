"""What a person reads about each setting. Its range, its choices and its type are the API's own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """``advanced`` ones are folded away."""

    label: str
    help: str
    advanced: bool = False


def _advanced(label: str, help: str) -> Words:
    return Words(label, help, advanced=True)


# In the order in which they are asked for.
GROUPS: dict[str, dict[str, Words]] = {
    "How long": {
        "train.num_train_epochs": Words(
            "Epochs", "How many times every row is seen. Fractions are fine."
        ),
        "train.max_steps": Words(
            "Steps", "Stop after so many updates of the weights, whatever the epochs say."
        ),
    },
    "How much at once": {
        "train.global_batch_size": Words(
            "Rows per step", "Rows that one update of the weights learns from, over all GPUs."
        ),
        "train.grad_accum": Words(
            "Gradient accumulation",
            "Reads the rows of a step in so many parts: less memory, the same result.",
        ),
        "train.max_length": Words(
            "Longest row", "Tokens; what is longer is cut off. Memory grows with it."
        ),
        "train.gradient_checkpointing": Words(
            "Gradient checkpointing",
            "Works out activations again instead of keeping them: far less memory, a third slower.",
        ),
        "train.packing": Words(
            "Packing", "Puts short rows together into full ones: faster where rows are short."
        ),
    },
    "How fast it learns": {
        "train.learning_rate": Words(
            "Learning rate", "How far each step moves the weights. Too much and the loss jumps."
        ),
        "train.lr_scheduler_type": Words(
            "Schedule", "How the learning rate changes from the first step to the last."
        ),
        "train.warmup_steps": Words(
            "Warm-up steps", "Steps in which the learning rate grows from zero."
        ),
    },
    "Adapter": {
        "lora.r": Words("Rank", "How much the adapter can learn. 8 to 64 are usual."),
        "lora.lora_alpha": Words(
            "Alpha", "How strongly the adapter counts. Twice the rank is usual."
        ),
        "lora.lora_dropout": _advanced(
            "Dropout", "Switches this share of the adapter off at random: less learnt by heart."
        ),
        "lora.target_modules": _advanced(
            "Layers", "all-linear, or names such as q_proj, v_proj, separated by commas."
        ),
        "lora.use_rslora": _advanced(
            "Rank-stabilised",
            "Scales by alpha over the root of the rank: steadier with high ranks.",
        ),
        "lora.use_dora": _advanced(
            "DoRA", "Trains size and direction of the weights apart: slower, at times better."
        ),
    },
    "This style": {
        "train.beta": Words(
            "Beta", "How near to the base model it stays; of ORPO, the weight of the preference."
        ),
        "train.loss_type": Words("Loss", "How the two answers of a pair are compared."),
        "train.label_smoothing": _advanced(
            "Label smoothing", "The share of pairs that may be the wrong way round."
        ),
        "train.desirable_weight": _advanced(
            "Weight of good answers", "How much an answer judged good counts."
        ),
        "train.undesirable_weight": _advanced(
            "Weight of bad answers", "How much an answer judged bad counts."
        ),
        "train.completion_only_loss": Words(
            "Learn answers only", "The prompt is read, but not learned by heart."
        ),
        "train.use_peft": Words(
            "Train an adapter", "Trains a small addition and leaves the model as it is."
        ),
        "train.load_in_4bit": Words(
            "Hold the model in 4 bits", "A quarter of the memory for the weights. Needs an adapter."
        ),
    },
    "Optimizer": {
        "train.optim": _advanced("Optimizer", "What turns gradients into new weights."),
        "train.weight_decay": _advanced(
            "Weight decay", "Pulls the weights towards zero a little with each step."
        ),
        "train.max_grad_norm": _advanced(
            "Largest gradient", "Longer gradients are shortened to this; 0 does not."
        ),
        "train.seed": _advanced("Seed", "The same seed gives the same order of rows and numbers."),
        "train.group_by_length": _advanced(
            "Group by length", "Rows of about the same length come together: less padding."
        ),
    },
    "Speed": {
        "train.dtype": _advanced(
            "Weights held as", "bfloat16 takes half the memory of float32, with fewer digits."
        ),
        "train.attn_implementation": _advanced(
            "Attention", "sdpa is PyTorch's own; flash_attention_2 has to be installed."
        ),
        "train.tf32": _advanced("TF32", "Fast float32 products with fewer digits, on a GPU."),
        "train.torch_compile": _advanced(
            "Compile", "Compiles the layers: pays in long runs, the first steps take a minute."
        ),
        "train.use_liger_kernel": _advanced(
            "Liger kernels", "Faster kernels, where liger-kernel is installed. Needs a GPU."
        ),
        "train.auto_find_batch_size": _advanced(
            "Smaller batches if memory runs out",
            "Goes on from the last checkpoint with half the rows at a time.",
        ),
        "train.dataset_num_proc": _advanced("Processes that tokenize", "Empty: one for each core."),
    },
    "Checkpoints and reports": {
        "train.checkpoint_interval": _advanced(
            "Steps between checkpoints", "A run that is stopped goes on from its last checkpoint."
        ),
        "train.save_total_limit": _advanced(
            "Checkpoints kept", "The newest ones; each is as large as what is trained, and more."
        ),
        "train.load_best_model_at_end": _advanced(
            "Keep the best", "The result is the checkpoint with the best evaluation, not the last."
        ),
        "train.metric_for_best_model": _advanced(
            "Best by", "The number of the evaluation that tells the best, such as eval_loss."
        ),
        "train.greater_is_better": _advanced(
            "Greater is better", "Empty: of everything but a loss."
        ),
        "train.logging_steps": _advanced(
            "Steps between lines", "How often loss and speed are written down."
        ),
        "train.report_to": _advanced("Trackers", "Who hears of every logged step too."),
    },
}
RESOURCES: dict[str, Words] = {
    "resources.partition_id": Words("Partition", "A group of machines that the job is sent to."),
    "resources.gpus": Words("GPUs", "Cards that train together; 0 trains on the CPU."),
    "resources.gpu_type": Words("Kind of card", "Waits for a card of this kind."),
    "resources.mixed_precision": Words(
        "Precision", "bf16 computes in 16 bits: less memory, much faster on cards that have it."
    ),
    "resources.strategy": Words(
        "Sharing", "What each of several cards holds: ddp all of it, fsdp and zero a part."
    ),
}
EVALUATION: dict[str, Words] = {
    "eval.interval": Words(
        "Steps between evaluations", "Of the held-out loss. Empty: only before and after."
    ),
    "eval.suites": Words(
        "Suites",
        "Measured before and after: exact_match, or tasks of lm-evaluation-harness such as mmlu, "
        "separated by commas.",
    ),
    "eval.limit": _advanced("Rows of each task", "Empty: all of them."),
    "eval.num_fewshot": _advanced("Examples before a question", "Empty: as the task says."),
}
EXPORT: dict[str, Words] = {
    "export": Words("Files", "What is made of the result. Safetensors are always there."),
}
COLUMNS: dict[str, Words] = {
    "columns.prompt": Words("Prompt", "What the model is asked."),
    "columns.completion": Words("Completion", "What it should answer."),
    "columns.messages": Words("Messages", "A whole conversation."),
    "columns.tools": Words("Tools", "What the model may call in a conversation."),
    "columns.text": Words("Text", "Plain text, or the text that has a label."),
    "columns.chosen": Words("Chosen", "The answer that people prefer."),
    "columns.rejected": Words("Rejected", "The answer that they do not."),
    "columns.label": Words("Label", "The class of a text or an image, or whether it is good."),
    "columns.image": Words("Image", "The path of an image."),
}
REVIEW: dict[str, Words] = {
    "name": Words("Name", "What the job and its result are called."),
    "project_id": Words("Project", "Who sees the job, and whose quota it counts against."),
    "start": Words("Start at once", "Otherwise it waits until somebody starts it."),
}
ASKED: dict[str, Words] = {
    path: words
    for part in (*GROUPS.values(), RESOURCES, EVALUATION, EXPORT, COLUMNS, REVIEW)
    for path, words in part.items()
}
# Asked for by cards to choose from, without words of their own.
LABELS = {"base_model_id": "Base model", "dataset_id": "Dataset", "recipe_id": "Training style"}


def label(path: str) -> str:
    return LABELS.get(path) or ASKED[path].label
