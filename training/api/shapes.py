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
    """Median error of estimates of this kind, in percent of what was measured."""

    memory_percent = serializers.FloatField()
    time_percent = serializers.FloatField()
    basis = serializers.CharField()


class FixSerializer(Shape):
    """A change that helps; ``patch`` is merged into the body of the request."""

    title = serializers.CharField()
    patch = serializers.DictField()
    keeps_result = serializers.BooleanField()
    estimated_vram_mb = serializers.IntegerField()
    time_per_step_ms = serializers.FloatField()
    fits = serializers.BooleanField(allow_null=True)


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
    disk_required_mb = serializers.IntegerField()
    confidence = ConfidenceSerializer(allow_null=True)
    fixes = FixSerializer(many=True)


class LogPartSerializer(Shape):
    """Offsets count bytes."""

    text = serializers.CharField(allow_blank=True)
    offset = serializers.IntegerField()
    next_offset = serializers.IntegerField()
    size = serializers.IntegerField()


class DeviceSerializer(Shape):
    kind = serializers.ChoiceField(choices=Device.Kind.choices)
    index = serializers.IntegerField()
    name = serializers.CharField()
    gpu_type = serializers.CharField(allow_blank=True)
    memory_mb = serializers.IntegerField()
    busy = serializers.BooleanField()


class WorkerSerializer(Shape):
    name = serializers.CharField()
    seen_at = serializers.DateTimeField()
    devices = DeviceSerializer(many=True)
