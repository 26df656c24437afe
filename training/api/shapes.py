"""What the JSON of experiments and jobs looks like: described for the schema, written elsewhere."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from training.models import Device
from training.trainer.result import FAILURE_KINDS

Shape = serializers.Serializer[Any]


class ProgressSerializer(Shape):
    step = serializers.IntegerField()
    max_steps = serializers.IntegerField(allow_null=True)
    percent = serializers.FloatField()
    eta_s = serializers.FloatField(allow_null=True, help_text="Seconds still to come.")


class LastMetricsSerializer(Shape):
    """The newest logged step; empty before the first one."""

    step = serializers.IntegerField(required=False)
    epoch = serializers.FloatField(required=False, allow_null=True)
    loss = serializers.FloatField(required=False, allow_null=True)
    learning_rate = serializers.FloatField(required=False, allow_null=True)
    grad_norm = serializers.FloatField(required=False, allow_null=True)
    tokens = serializers.IntegerField(required=False, allow_null=True)
    tokens_per_s = serializers.FloatField(required=False, allow_null=True)
    samples_per_s = serializers.FloatField(required=False, allow_null=True)
    memory_mb = serializers.FloatField(required=False, allow_null=True)


class EvaluationSerializer(Shape):
    """Numbers on held-out rows, by name: of the base model, and of the newest state."""

    before = serializers.DictField(required=False)
    after = serializers.DictField(required=False)


class FailureSerializer(Shape):
    kind = serializers.ChoiceField(choices=sorted(FAILURE_KINDS.items()))
    message = serializers.CharField()
    advice = serializers.CharField(allow_blank=True)


class ResultSerializer(Shape):
    """What a completed job has made."""

    kind = serializers.ChoiceField(choices=["base_model", "adapter"])
    id = serializers.UUIDField()
    name = serializers.CharField()


class JobStrategySerializer(Shape):
    type = serializers.CharField(allow_null=True)
    mixed_precision = serializers.CharField(allow_null=True)


class ThroughputSerializer(Shape):
    samples_per_second = serializers.FloatField(required=False)
    tokens_per_second = serializers.FloatField(required=False)


class MemorySerializer(Shape):
    """In GiB. Empty where the experiment is refused."""

    model_params_gb = serializers.FloatField(required=False)
    activations_gb = serializers.FloatField(required=False)
    gradients_gb = serializers.FloatField(required=False)
    optimizer_gb = serializers.FloatField(required=False)
    total_with_buffer_gb = serializers.FloatField(required=False)
    peak_allocated_gb = serializers.FloatField(required=False)
    cuda_context_gb = serializers.FloatField(required=False)
    buffer_gb = serializers.FloatField(required=False)
    reused_gb = serializers.FloatField(required=False)
    peak_moment = serializers.CharField(required=False)


class ConfidenceSerializer(Shape):
    """Median error of estimates of this kind, in percent of what was measured. Where own runs of
    the kind (card, method, strategy) have taught something, the estimate is multiplied by these
    factors already."""

    memory_percent = serializers.FloatField()
    time_percent = serializers.FloatField()
    basis = serializers.CharField()
    card = serializers.CharField(required=False)
    method = serializers.CharField(required=False)
    strategy = serializers.CharField(required=False)
    memory_runs = serializers.IntegerField(required=False)
    time_runs = serializers.IntegerField(required=False)
    memory_factor = serializers.FloatField(required=False)
    time_factor = serializers.FloatField(required=False)
    knows_lengths = serializers.BooleanField(
        required=False, help_text="Whether the lengths of the rows are known."
    )
    formulas = serializers.IntegerField(
        required=False, help_text="Counts the changes of the formulas that matter to the factors."
    )


class FixSerializer(Shape):
    """A change that helps; ``patch`` is merged into the body of the request, section by section,
    and then comes to what the numbers here say."""

    title = serializers.CharField()
    patch = serializers.DictField()
    keeps_result = serializers.BooleanField()
    estimated_vram_mb = serializers.IntegerField()
    time_per_step_ms = serializers.FloatField()
    fits = serializers.BooleanField(allow_null=True)


class TimeBreakdownSerializer(Shape):
    """Seconds of each part of a run; their sum is the total. Empty where the steps are not known.
    ``reference`` is what dpo and kto ask the base model before the first step."""

    start = serializers.FloatField(required=False)
    data = serializers.FloatField(required=False, help_text="To make tokens of the rows.")  # type: ignore[assignment]
    load = serializers.FloatField(required=False)
    reference = serializers.FloatField(required=False)
    training = serializers.FloatField(required=False)
    evaluation = serializers.FloatField(
        required=False, help_text="All of them, but for suites of lm-evaluation-harness."
    )
    checkpoints = serializers.FloatField(required=False)
    export = serializers.FloatField(required=False)


class RowsSerializer(Shape):
    """How long the rows are, in tokens of the model, and what becomes of them. With packing a row
    is a pack. Empty where the experiment is refused."""

    basis = serializers.ChoiceField(
        required=False,
        choices=["counted", "sampled", "guessed", "settings", "unknown"],
        help_text="All rows counted with the model's tokenizer; some of them; four characters a "
        "token; rows are as long as the settings say; nobody knows.",
    )
    mean_tokens = serializers.FloatField(required=False, help_text="After the cut at max_length.")
    padded_tokens = serializers.FloatField(
        required=False, help_text="What a row costs with the padding beside it."
    )
    largest_micro_batch_tokens = serializers.IntegerField(
        required=False, help_text="The largest that can come: what memory is worked out for."
    )
    truncated_percent = serializers.FloatField(required=False, help_text="Of the rows.")
    left_out_percent = serializers.FloatField(
        required=False, help_text="Of the rows: their prompts alone fill max_length."
    )
    lost_tokens_percent = serializers.FloatField(required=False, help_text="Of all tokens.")
    rows_per_epoch = serializers.IntegerField(required=False, allow_null=True)
    steps = serializers.IntegerField(required=False, allow_null=True)


class PreflightReportSerializer(Shape):
    """`training.preflight.Report`."""

    ok = serializers.BooleanField()
    warnings = serializers.ListField(child=serializers.CharField())
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]
    estimated_vram_mb = serializers.IntegerField()
    vram_breakdown = MemorySerializer()
    time_per_step_ms = serializers.FloatField()
    throughput = ThroughputSerializer()
    headroom_mb = serializers.IntegerField(allow_null=True)
    fits = serializers.BooleanField(allow_null=True)
    bottleneck = serializers.CharField(allow_null=True)
    total_time_s = serializers.FloatField(allow_null=True)
    total_time_range_s = serializers.ListField(child=serializers.FloatField(), allow_null=True)
    time_breakdown_s = TimeBreakdownSerializer()
    rows = RowsSerializer()
    disk_required_mb = serializers.IntegerField(help_text="Checkpoints and exports.")
    host_memory_required_mb = serializers.IntegerField(
        help_text="Of the machine that the cards are in, at the moment that needs most."
    )
    download_mb = serializers.IntegerField(
        help_text="Files of the model and the dataset that are known not to be here."
    )
    confidence = ConfidenceSerializer(allow_null=True)
    fixes = FixSerializer(many=True)


class LogPartSerializer(Shape):
    """Offsets count bytes."""

    text = serializers.CharField(allow_blank=True)
    offset = serializers.IntegerField()
    next_offset = serializers.IntegerField()
    size = serializers.IntegerField()


class LogLineSerializer(Shape):
    offset = serializers.IntegerField(help_text="The byte at which the line begins.")
    text = serializers.CharField(help_text="The line; of a long one what stands around the words.")


class LogFoundSerializer(Shape):
    lines = LogLineSerializer(many=True)
    next_offset = serializers.IntegerField(help_text="Where to go on; `size` at the end.")
    size = serializers.IntegerField()


class CheckpointReferenceSerializer(Shape):
    job_id = serializers.UUIDField(allow_null=True, help_text="null: the job is gone.")
    step = serializers.IntegerField()


class DeviceSerializer(Shape):
    kind = serializers.ChoiceField(choices=Device.Kind.choices)
    index = serializers.IntegerField()
    name = serializers.CharField()
    gpu_type = serializers.CharField(allow_blank=True)
    memory_mb = serializers.IntegerField()
    memory_free_mb = serializers.IntegerField(
        allow_null=True, help_text="As the worker has last seen it, whoever takes the rest."
    )
    compute_capability = serializers.CharField(allow_blank=True)
    card_index = serializers.IntegerField(
        allow_null=True, help_text="Of a MIG slice: the card that it is a part of."
    )
    busy = serializers.BooleanField()


class WorkerSerializer(Shape):
    name = serializers.CharField()
    seen_at = serializers.DateTimeField()
    cpu_threads = serializers.IntegerField()
    cpu_gflops = serializers.FloatField(
        allow_null=True,
        help_text="What its threads together reach in float32 products, once it was measured.",
    )
    host_memory_mb = serializers.IntegerField()
    host_memory_free_mb = serializers.IntegerField(allow_null=True)
    driver = serializers.CharField(allow_blank=True, help_text="Of its NVIDIA cards.")
    devices = DeviceSerializer(many=True)
