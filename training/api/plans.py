"""What a caller may ask for: a plan, its settings, and their ranges."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.serializers import VisibleProjectField
from api.fields import StrictSerializer
from registry.models import BaseModel, Dataset
from training.models import Partition, Recipe
from training.preflight import hardware
from training.trainer import spec

LARGEST = 2**31 - 1


class VisibleField(serializers.PrimaryKeyRelatedField[Any]):
    """The id of something the asking user may see; anything else "does not exist"."""

    def __init__(self, model: Any, **kwargs: Any) -> None:
        self.model = model
        kwargs.setdefault("pk_field", serializers.UUIDField())
        super().__init__(queryset=model.objects, **kwargs)

    def get_queryset(self) -> Any:
        if hasattr(self.model.objects, "visible_to"):
            return self.model.objects.visible_to(self.context["request"].user)
        return self.model.objects.all()

    def __deepcopy__(self, memo: dict[int, Any]) -> VisibleField:
        kwargs = {k: v for k, v in self._kwargs.items() if k != "model"}  # type: ignore[attr-defined]
        return type(self)(self.model, **kwargs)


class SettingsSerializer(StrictSerializer):
    """Settings that mean the same whoever asks, none of which has to be there.

    Their fields are made once. REST framework makes them for each request, of each serializer
    inside another twice: that took longer than to read what was sent.
    """

    @property
    def fields(self) -> Any:
        return _fields_of(type(self))


@functools.cache
def _fields_of(settings: type[SettingsSerializer]) -> Any:
    return super(SettingsSerializer, settings()).fields


class TrainSerializer(SettingsSerializer):
    """`training.trainer.spec.TrainSpec`. What is left out is as in the recipe, or the default."""

    max_steps = serializers.IntegerField(min_value=1, max_value=LARGEST)
    num_train_epochs = serializers.FloatField(min_value=0.001, max_value=10_000)
    global_batch_size = serializers.IntegerField(min_value=1, max_value=1_000_000)
    grad_accum = serializers.IntegerField(min_value=1, max_value=1_000_000)
    learning_rate = serializers.FloatField(min_value=0, max_value=10)
    lr_scheduler_type = serializers.ChoiceField(choices=spec.SCHEDULES)
    warmup_steps = serializers.IntegerField(min_value=0, max_value=LARGEST)
    optim = serializers.ChoiceField(choices=spec.OPTIMIZERS)
    weight_decay = serializers.FloatField(min_value=0, max_value=10)
    max_grad_norm = serializers.FloatField(min_value=0, max_value=1e6)
    max_length = serializers.IntegerField(min_value=2, max_value=10_000_000)
    completion_only_loss = serializers.BooleanField()
    dtype = serializers.ChoiceField(choices=spec.DTYPES)
    gradient_checkpointing = serializers.BooleanField()
    attn_implementation = serializers.ChoiceField(choices=spec.ATTENTION)
    seed = serializers.IntegerField(min_value=0, max_value=LARGEST)
    logging_steps = serializers.IntegerField(min_value=1, max_value=LARGEST)
    checkpoint_interval = serializers.IntegerField(min_value=1, max_value=LARGEST)
    save_total_limit = serializers.IntegerField(min_value=1, max_value=10_000)
    load_best_model_at_end = serializers.BooleanField(
        help_text="The result is the checkpoint with the best evaluation, not the last one. It is "
        "kept beside the newest save_total_limit. Needs eval.interval and a validation split."
    )
    metric_for_best_model = serializers.CharField(
        max_length=100,
        help_text="The number of the evaluation that tells the best: eval_loss, or what else the "
        "method measures, such as eval_token_accuracy or eval_accuracy.",
    )
    greater_is_better = serializers.BooleanField(
        allow_null=True,
        help_text="Whether a greater metric_for_best_model is better. Not given: of everything but "
        "a loss.",
    )
    report_to = serializers.ListField(
        child=serializers.ChoiceField(choices=spec.REPORTERS),
        max_length=len(spec.REPORTERS),
        help_text="Trackers that hear of every logged step too.",
    )
    tf32 = serializers.BooleanField(
        help_text="On a GPU, multiply float32 numbers on the tensor cores: several times as fast, "
        "with fewer digits."
    )
    torch_compile = serializers.BooleanField(
        help_text="Compile the model's layers. Pays in long runs; the first steps take a minute."
    )
    use_liger_kernel = serializers.BooleanField(
        help_text="Use the kernels of liger-kernel, which has to be installed. Needs a GPU."
    )
    packing = serializers.BooleanField(
        help_text="Put short rows together into packs of up to max_length tokens. "
        "global_batch_size then counts packs; the rows in a pack do not see each other."
    )
    group_by_length = serializers.BooleanField(
        help_text="Let rows of about the same length come together: less padding, less chance."
    )
    dataset_num_proc = serializers.IntegerField(
        min_value=1,
        max_value=1024,
        allow_null=True,
        help_text="Processes that tokenize a large dataset. Not given: one for each core.",
    )
    auto_find_batch_size = serializers.BooleanField(
        help_text="Where memory runs out, go on from the last checkpoint with half the micro batch "
        "and twice the accumulation: the same global batch, so the same training."
    )
    use_peft = serializers.BooleanField(
        help_text="Train a LoRA adapter. By the methods lora and qlora that goes without saying."
    )
    load_in_4bit = serializers.BooleanField(
        help_text="Hold the base model in four bits (nf4). Needs use_peft."
    )
    beta = serializers.FloatField(
        min_value=1e-6,
        max_value=1000,
        help_text="dpo, kto: how near to the base model to stay. orpo: the weight of the odds "
        "ratio.",
    )
    loss_type = serializers.ChoiceField(choices=spec.LOSS_TYPES, help_text="dpo only.")
    label_smoothing = serializers.FloatField(
        min_value=0,
        max_value=0.49,
        help_text="dpo with loss_type sigmoid: the share of pairs taken to be the wrong way round.",
    )
    desirable_weight = serializers.FloatField(
        min_value=0, max_value=1000, help_text="kto: the weight of a desirable completion."
    )
    undesirable_weight = serializers.FloatField(
        min_value=0, max_value=1000, help_text="kto: the weight of an undesirable completion."
    )

    def get_fields(self) -> Any:
        fields = super().get_fields()
        for field in fields.values():
            field.required = False
        return fields


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": ["all-linear"]},
            {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
        ]
    }
)
class TargetModulesField(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> Any:
        if data == "all-linear":
            return data
        if isinstance(data, list) and data and all(isinstance(name, str) and name for name in data):
            return data
        raise serializers.ValidationError('Expected "all-linear" or a list of module names.')

    def to_representation(self, value: Any) -> Any:
        return value


class LoraSerializer(SettingsSerializer):
    r = serializers.IntegerField(min_value=1, max_value=4096, required=False)
    lora_alpha = serializers.IntegerField(min_value=1, max_value=65_536, required=False)
    lora_dropout = serializers.FloatField(min_value=0, max_value=0.99, required=False)
    target_modules = TargetModulesField(required=False)
    use_rslora = serializers.BooleanField(
        required=False, help_text="Scale the adapter by lora_alpha / √r instead of lora_alpha / r."
    )
    use_dora = serializers.BooleanField(
        required=False, help_text="Train the magnitude of each weight apart from its direction."
    )


class ResourcesSerializer(SettingsSerializer):
    gpus = serializers.IntegerField(min_value=0, max_value=4096, required=False)
    nodes = serializers.IntegerField(min_value=1, max_value=1, required=False)
    gpu_type = serializers.CharField(max_length=40, required=False, allow_null=True)
    partition_id = serializers.UUIDField(required=False, allow_null=True)
    strategy = serializers.ChoiceField(choices=spec.STRATEGIES, required=False, allow_null=True)
    mixed_precision = serializers.ChoiceField(
        choices=spec.MIXED_PRECISION, required=False, allow_null=True
    )

    def validate_gpu_type(self, value: str | None) -> str | None:
        """The catalogue's one word for a card: a bare "a100" is the 80 GB one."""
        card = hardware.find_card(value) if value else None
        return card.slug if card else value

    def validate_partition_id(self, value: Any) -> str | None:
        if value is None:
            return None
        if not Partition.objects.filter(pk=value).exists():
            raise serializers.ValidationError("There is no such partition.")
        return str(value)


class StrategySerializer(SettingsSerializer):
    """The contract's top-level object; means the same as the two fields in ``resources``."""

    type = serializers.ChoiceField(choices=spec.STRATEGIES, required=False, allow_null=True)
    mixed_precision = serializers.ChoiceField(
        choices=spec.MIXED_PRECISION, required=False, allow_null=True
    )


class EvalSerializer(SettingsSerializer):
    suites = serializers.ListField(
        child=serializers.CharField(max_length=100),
        max_length=100,
        required=False,
        help_text="exact_match, and tasks of lm-evaluation-harness such as mmlu: measured on the "
        "base model before and on the result after.",
    )
    limit = serializers.IntegerField(
        min_value=1,
        max_value=LARGEST,
        required=False,
        allow_null=True,
        help_text="Rows of each task at most. All of them if it is left out.",
    )
    num_fewshot = serializers.IntegerField(
        min_value=0,
        max_value=1000,
        required=False,
        allow_null=True,
        help_text="Examples before each question. As the task says if it is left out.",
    )
    interval = serializers.IntegerField(
        min_value=1, max_value=LARGEST, required=False, allow_null=True
    )


class ExportField(serializers.ListField):
    """Any of safetensors (always made), merged, onnx, gguf."""

    child = serializers.CharField(max_length=20)


class ColumnsSerializer(SettingsSerializer):
    """The column of the dataset that a field of a row stands in, where it has another name."""

    def get_fields(self) -> Any:
        return {
            name: serializers.CharField(max_length=200, required=False, trim_whitespace=False)
            for name in spec.ROW_FIELDS
        }


class AdapterReference(StrictSerializer):
    adapter_id = serializers.UUIDField()


class PlanSerializer(StrictSerializer):
    """What is to be trained: the body of a preflight, and the greater part of that of a job."""

    base_model_id = VisibleField(BaseModel, source="base_model")
    dataset_id = VisibleField(Dataset, source="dataset")
    recipe_id = VisibleField(Recipe, source="recipe")
    columns = ColumnsSerializer(required=False)
    adapters = AdapterReference(many=True, required=False)
    train = TrainSerializer(required=False)
    lora = LoraSerializer(required=False)
    strategy = StrategySerializer(required=False)
    resources = ResourcesSerializer(required=False)
    eval = EvalSerializer(required=False)
    export = ExportField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        plan = dict(attrs)
        if plan.pop("adapters", None):
            raise serializers.ValidationError(
                {"adapters": "This version starts from a base model, not from an adapter."}
            )
        resources = dict(plan.get("resources", {}))
        for name, value in _named(plan.pop("strategy", {})).items():
            if resources.get(name) not in (None, value):
                raise serializers.ValidationError(
                    {f"strategy.{name}": f"'{value}' contradicts '{resources[name]}' in resources."}
                )
            resources[name] = value
        return {**plan, "resources": resources}


class PreflightSerializer(PlanSerializer):
    """Of a job that is not made, in a project whose quota it would count against. The body of the
    job is taken as it is: what is only the job's own changes nothing."""

    OF_THE_JOB = ("name", "metadata", "start", "resume_from_checkpoint")

    project_id = VisibleProjectField()
    name = serializers.CharField(max_length=200, required=False)
    metadata = serializers.DictField(required=False)
    start = serializers.BooleanField(required=False)
    resume_from_checkpoint = serializers.DictField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        plan = super().validate(attrs)
        return {name: value for name, value in plan.items() if name not in self.OF_THE_JOB}


def _named(strategy: dict[str, Any]) -> dict[str, Any]:
    """The strategy object under the names that ``resources`` uses."""
    names = {"type": "strategy", "mixed_precision": "mixed_precision"}
    return {names[key]: value for key, value in strategy.items() if value is not None}


# A setting of the trainer that the API does not offer would be out of anybody's reach.
assert set(TrainSerializer().fields) == {f.name for f in dataclasses.fields(spec.TrainSpec)}
