"""Who goes with whom: model, dataset, recipe, evaluation and export. One rule, one function."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from training.preflight import host
from training.preflight.facts import Experiment, ModelFacts
from training.preflight.findings import Finding, Rule, error, listed, shortage, warning
from training.preflight.hardware import GIB
from training.preflight.methods import words_for
from training.preflight.shape import shape_of
from training.trainer.spec import EXACT_MATCH, HELD_OUT_SPLITS, METHODS

SMALL_DATASET_ROWS = 10_000
MANY_PASSES = 10
MOST_NAMED = 3
LARGEST_RATE = 10  # what is beyond is no number to learn with, and has an error of its own
# Embeddings and head by family, where they are not called as in Llama.
EMBEDDINGS = {
    "gpt_neox": ("embed_in", "embed_out"),
    **dict.fromkeys(("gpt2", "gpt_bigcode", "gpt_neo", "gptj", "codegen"), ("wte", "lm_head")),
    **dict.fromkeys(("falcon", "bloom"), ("word_embeddings", "lm_head")),
    **dict.fromkeys(("bert", "roberta", "electra", "distilbert"), ("word_embeddings",)),
    "vit": (),
}
HEADS = ("lm_head", "embed_out")
# What the modules are called in which Transformers keeps the matrices of a layer.
CONTAINERS = frozenset((
    "model", "language_model", "text_model", "base_model", "transformer", "gpt_neox", "bert",
    "roberta", "vit", "encoder", "decoder", "vision_tower", "vision_model", "layers", "layer", "h",
    "blocks", "block", "self_attn", "self_attention", "attn", "attention", "self", "output",
    "intermediate", "mlp", "ffn",
))  # fmt: skip
# Outside of these a run seldom learns or seldom stays stable; inside of them tastes differ.
USUAL_LEARNING_RATES = {"full": (1e-6, 1e-3), "lora": (1e-5, 5e-3), "qlora": (1e-5, 5e-3)}
# Preferences are learned in smaller steps: a hundredth of the lower end is still usual.
PREFERENCES = ("dpo", "orpo", "kto")
# Rows with a question that has one answer.
ANSWERED = ("prompt_completion", "conversation", "messages")
HOLD_OUT = "Hold some rows out as one on the dataset's page, or leave it out."


def model_is_archived(e: Experiment) -> Iterator[Finding]:
    if "archived" in (e.model.stage, e.model.status):
        yield error(f"Model '{e.model.name}' is archived. Choose a model that is in use.")


def model_is_not_trainable(e: Experiment) -> Iterator[Finding]:
    if not e.model.trainable:
        yield error(
            f"Model '{e.model.name}' is marked as not trainable. Choose another, or mark it as "
            "trainable in the registry."
        )


def model_is_gguf(e: Experiment) -> Iterator[Finding]:
    if e.model.is_gguf:
        yield error(
            f"Model '{e.model.name}' is a GGUF file, which can be served but not trained. "
            "Choose its safetensors original."
        )


def model_has_problems(e: Experiment) -> Iterator[Finding]:
    for sentence in e.model.problems:
        yield error(f"Model '{e.model.name}' cannot be used as it is. {sentence}")


def model_lacks_files(e: Experiment) -> Iterator[Finding]:
    if e.model.has_files is False:
        size = host.model_bytes(e.model)
        about = f" (about {size / GIB:.1f} GB)" if size else ""
        yield shortage(
            f"Model '{e.model.name}' has no weights on disk. Download it{about} or correct its "
            "path."
        )
    elif e.model.has_tokenizer is False and e.recipe.modality != "image":
        yield shortage(f"Model '{e.model.name}' has no tokenizer. Add its tokenizer files.")


def model_lacks_a_chat_template(e: Experiment) -> Iterator[Finding]:
    if e.dataset.row_format == "messages" and e.model.has_chat_template is False:
        yield error(
            f"Dataset '{e.dataset.name}' holds conversations, but the tokenizer of model "
            f"'{e.model.name}' has no chat template. Choose an instruction-tuned model, or rows "
            "with prompt and completion."
        )


def chat_template_does_not_render(e: Experiment) -> Iterator[Finding]:
    if e.dataset.row_format == "messages" and e.model.template_renders is False:
        yield error(
            f"Dataset '{e.dataset.name}' holds conversations, but the chat template of model "
            f"'{e.model.name}' cannot be used. Its page says why."
        )


def recipe_is_not_available(e: Experiment) -> Iterator[Finding]:
    if e.recipe.method not in METHODS:
        yield error(
            f"Recipe '{e.recipe.name}' trains by the method {e.recipe.method}, which is not "
            f"available. Available: {listed(tuple(METHODS))}."
        )


def recipe_does_not_take_quantized_models(e: Experiment) -> Iterator[Finding]:
    if e.model.quantized and not e.recipe.supports_quantized:
        yield error(
            f"Recipe '{e.recipe.name}' does not support quantized models. "
            f"Model '{e.model.name}' is {quantization_label(e.model)}."
        )


def quantization_label(model: ModelFacts) -> str:
    """The dtype where it is a quantized one such as int4, else the name of the scheme."""
    if model.dtype.lower().startswith(("int", "uint", "nf", "fp4", "fp8", "q")):
        return model.dtype
    return model.quantization or model.dtype or "quantized"


def modalities_differ(e: Experiment) -> Iterator[Finding]:
    model, dataset, recipe = e.model, e.dataset, e.recipe
    if model.modality != dataset.modality and model.modality != "multimodal":
        yield error(
            f"Model '{model.name}' takes {model.modality}, but dataset '{dataset.name}' is "
            f"{dataset.modality}. Choose a model that takes {dataset.modality}, or a dataset of "
            f"{model.modality}."
        )
    if recipe.modality != dataset.modality:
        yield error(
            f"Recipe '{recipe.name}' trains on {recipe.modality}, but dataset '{dataset.name}' "
            f"is {dataset.modality}. Choose a recipe for {dataset.modality}."
        )


def dataset_failed_its_check(e: Experiment) -> Iterator[Finding]:
    if not e.dataset.integrity_checked:
        under = " under these columns" if e.columns else ""
        yield warning(
            f"Dataset '{e.dataset.name}' has not been checked{under} yet. Check it on its page."
        )
    elif not e.dataset.integrity_passed:
        yield error(
            "Dataset failed integrity check. Please review and fix dataset issues before training."
        )


def dataset_lacks_files(e: Experiment) -> Iterator[Finding]:
    if e.dataset.has_files is False:
        size = e.dataset.size_bytes
        about = f" (about {size / GIB:.1f} GB)" if size and size > 0 else ""
        yield shortage(
            f"The files of dataset '{e.dataset.name}' are not on this machine. Download "
            f"them{about} or correct its path."
        )


def dataset_is_empty(e: Experiment) -> Iterator[Finding]:
    if e.dataset.num_samples is not None and e.dataset.num_samples <= 0:
        yield error(f"Dataset '{e.dataset.name}' has no rows. Choose one that has some.")


def dataset_has_no_train_split(e: Experiment) -> Iterator[Finding]:
    """No splits at all are only believed once the dataset has been looked into."""
    splits = e.dataset.splits
    if "train" not in splits and (splits or e.dataset.integrity_checked):
        yield error(
            f"Dataset '{e.dataset.name}' has no train split. "
            f"Its splits: {listed(splits) or 'none'}. Name the file or folder of the rows to learn "
            "from train, and check it again."
        )


def columns_do_not_exist(e: Experiment) -> Iterator[Finding]:
    known = e.dataset.columns
    for name, column in e.columns.items():
        if known and column not in known:
            yield error(
                f"columns: {name} is to be read from the column {column}, which dataset "
                f"'{e.dataset.name}' has not. Its columns: {listed(known)}."
            )


def dataset_is_small(e: Experiment) -> Iterator[Finding]:
    rows = e.dataset.num_samples
    if rows is not None and 0 < rows < SMALL_DATASET_ROWS:
        yield warning(
            f"Dataset is small ({rows} samples). "
            "Consider using a larger dataset for better results."
        )


def dataset_is_seen_too_often(e: Experiment) -> Iterator[Finding]:
    rows, each, steps = e.dataset.num_samples, e.rows_an_epoch, e.steps
    if rows is None or each is None or steps is None or rows < 1 or each < 1:
        return
    passes = Fraction(steps * e.train.global_batch_size, each)  # which no integer overflows
    if passes > MANY_PASSES:
        yield warning(
            f"The run sees each of the {rows} rows {round(passes)} times and will learn them by "
            f"heart. Up to {MANY_PASSES} times is usual."
        )


def rows_are_longer_than_the_context(e: Experiment) -> Iterator[Finding]:
    """An error where such rows can come: learned positions crash, rotary ones learn nonsense. A
    warning where every row is known to be shorter, for then nothing of it is ever used."""
    context, limit, longest = e.model.context_length, e.train.max_length, e.dataset.max_tokens
    if context is None or context <= 0 or limit <= context or e.recipe.modality == "image":
        return
    sentence = (
        f"max_length {limit} is above the {context} tokens that model '{e.model.name}' was made "
        f"for. Set max_length to {context} or less."
    )
    fits_anyway = longest is not None and 0 < longest <= context
    yield warning(sentence) if fits_anyway else error(sentence)


def adapter_targets_do_not_exist(e: Experiment) -> Iterator[Finding]:
    shape, modules = shape_of(e.model), e.lora.target_modules
    if e.tuning == "full" or shape is None or not shape.exact or modules == "all-linear":
        return
    wanted = (modules,) if isinstance(modules, str) else tuple(dict.fromkeys(modules))
    trained = {one.name for one in shape.linears if not one.is_expert} | _beside_the_layers(e)
    held = {one.name for one in shape.tower.linears} if shape.tower else set()
    missing = tuple(name for name in wanted if not _is_there(name, trained | held))
    has = listed(tuple(dict.fromkeys(one.name for one in shape.linears)))
    there_is = f"It has {has}; all-linear means all of them."
    sentence = f"not in model '{e.model.name}'. {there_is}"
    shown = f"{listed(missing[:MOST_NAMED])}{_and_more(missing)}"
    if len(missing) == len(wanted):
        yield error(f"lora target_modules {shown or 'none'} are {sentence}")
    elif missing:
        is_are = "is" if len(missing) == 1 else "are"
        yield warning(f"Of lora target_modules {shown} {is_are} {sentence}")
    if len(missing) < len(wanted) and not any(_is_there(name, trained) for name in wanted):
        yield error(
            f"lora target_modules {listed(wanted[:MOST_NAMED])}{_and_more(wanted)} reach only the "
            f"part of model '{e.model.name}' that sees, which text does not train. {there_is}"
        )


def _beside_the_layers(e: Experiment) -> set[str]:
    """Embeddings and head, which PEFT adapts where they are named."""
    named = EMBEDDINGS.get(e.model.family, ("embed_tokens", "lm_head"))
    return {name for name in named if e.has_token_head or name not in HEADS}


def _is_there(wanted: str, names: set[str]) -> bool:
    """PEFT wants the whole path of a module, or the end of it."""
    *path, last = wanted.split(".")
    return last in names and all(part.isdecimal() or part in CONTAINERS for part in path)


def learning_rate_is_unusual(e: Experiment) -> Iterator[Finding]:
    low, high = USUAL_LEARNING_RATES[e.tuning]
    low = low / 100 if e.recipe.method in PREFERENCES else low
    if not low <= e.train.learning_rate <= high and e.train.learning_rate <= LARGEST_RATE:
        yield warning(
            f"learning_rate {e.train.learning_rate:g} is far from the usual for "
            f"{e.recipe.method}: {low:g} to {high:g}."
        )


def tracker_is_not_installed(e: Experiment) -> Iterator[Finding]:
    for name in e.missing_trackers:
        yield shortage(
            f"report_to names {name}, and its library is not installed here: "
            "pip install -r requirements-reporting.txt."
        )


def suites_cannot_run(e: Experiment) -> Iterator[Finding]:
    """What a task of lm-evaluation-harness needs is known from its files alone."""
    for suite in e.suites:
        if suite.problem:
            yield error(f"Evaluation suite '{suite.name}': {suite.problem}")
        elif suite.lacks:
            yield shortage(
                f"Evaluation suite '{suite.name}' needs data that is not on this machine: "
                f"{listed(suite.lacks[:MOST_NAMED])}{_and_more(suite.lacks)}. {suite.advice}"
            )
        if e.model.context_length and suite.writes_tokens >= e.model.context_length:
            yield error(
                f"Evaluation suite '{suite.name}' lets the model write up to {suite.writes_tokens} "
                f"tokens, and model '{e.model.name}' has room for {e.model.context_length}, the "
                "question included. Leave it out."
            )
    if e.eval_suites and not e.has_token_head:
        yield error(
            f"Evaluation suites ({listed(e.eval_suites)}) ask a model that writes text; recipe "
            f"'{e.recipe.name}' trains one that chooses labels. Leave them out: accuracy is "
            "measured anyway."
        )


def _and_more(names: tuple[str, ...]) -> str:
    return f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""


def exact_match_has_nothing_to_ask(e: Experiment) -> Iterator[Finding]:
    if EXACT_MATCH not in e.eval_suites:
        return
    if e.dataset.splits and not set(e.dataset.splits) & set(HELD_OUT_SPLITS):
        yield error(
            "Evaluation suite 'exact_match' needs a validation split. "
            f"The splits of dataset '{e.dataset.name}': {listed(e.dataset.splits)}. {HOLD_OUT}"
        )
    if e.dataset.row_format and e.dataset.row_format not in ANSWERED:
        yield error(
            "Evaluation suite 'exact_match' needs rows with prompt and completion, or messages. "
            f"The rows of dataset '{e.dataset.name}' are {words_for(e.dataset.row_format)}. Leave "
            "it out."
        )


def no_checkpoint_can_be_told_to_be_the_best(e: Experiment) -> Iterator[Finding]:
    if not e.train.load_best_model_at_end:
        return
    if e.dataset.splits and not set(e.dataset.splits) & set(HELD_OUT_SPLITS):
        yield error(
            "load_best_model_at_end needs a validation split to compare checkpoints by. "
            f"The splits of dataset '{e.dataset.name}': {listed(e.dataset.splits)}. {HOLD_OUT}"
        )
    if not e.eval_interval:
        yield error(
            "load_best_model_at_end compares the evaluations of a run: set eval.interval to the "
            "steps between two of them."
        )


RULES: tuple[Rule, ...] = (
    model_is_archived,
    model_is_not_trainable,
    model_is_gguf,
    model_has_problems,
    model_lacks_files,
    model_lacks_a_chat_template,
    chat_template_does_not_render,
    recipe_is_not_available,
    recipe_does_not_take_quantized_models,
    modalities_differ,
    dataset_failed_its_check,
    dataset_lacks_files,
    dataset_is_empty,
    dataset_has_no_train_split,
    columns_do_not_exist,
    dataset_is_small,
    dataset_is_seen_too_often,
    rows_are_longer_than_the_context,
    adapter_targets_do_not_exist,
    learning_rate_is_unusual,
    suites_cannot_run,
    exact_match_has_nothing_to_ask,
    no_checkpoint_can_be_told_to_be_the_best,
    tracker_is_not_installed,
)
