"""What the API shows of jobs, experiments and machines."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.serializers import ProjectField
from api.fields import ShapedJSON, StrictSerializer
from training import checkpoints, judging
from training.api import shapes
from training.api.plans import (
    LARGEST,
    AdapterReference,
    ColumnsSerializer,
    EvalSerializer,
    ExportField,
    LoraSerializer,
    PlanSerializer,
    ResourcesSerializer,
    TrainSerializer,
)
from training.models import Artifact, Checkpoint, Experiment, Job, JobEvent, Metric, Partition
from training.trainer.spec import BadSpec


class CheckpointField(StrictSerializer):
    """A checkpoint of a job that one sees. The new job goes on from there, with its own settings
    for what is still to come."""

    job_id = serializers.UUIDField()
    step = serializers.IntegerField(min_value=1, max_value=LARGEST)


class JobCreateSerializer(PlanSerializer):
    name = serializers.CharField(max_length=200)
    project_id = ProjectField()
    metadata = serializers.DictField(required=False)
    start = serializers.BooleanField(required=False, default=True)
    resume_from_checkpoint = CheckpointField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        plan = super().validate(attrs)
        if wanted := plan.pop("resume_from_checkpoint", None):
            plan["resume_from"] = self._checkpoint(wanted, plan)
        return plan

    def _checkpoint(self, wanted: dict[str, Any], plan: dict[str, Any]) -> Checkpoint:
        """Raises ValidationError where there is none, or it does not go with the settings."""
        jobs = Job.objects.visible_to(self.context["request"].user)
        found = (
            Checkpoint.objects.filter(job__in=jobs, job=wanted["job_id"], step=wanted["step"])
            .select_related("job__experiment__base_model", "job__experiment__recipe")
            .first()
        )
        if found is None:
            raise serializers.ValidationError(
                {"resume_from_checkpoint": "There is no such checkpoint."}
            )
        try:
            whole = judging.complete(plan)
        except BadSpec:  # said by the preflight
            return found
        if problems := checkpoints.why_not_resume(found, whole):
            raise serializers.ValidationError(problems)
        return found

    def to_representation(self, instance: Job) -> dict[str, Any]:
        return JobDetailSerializer(instance, context=self.context).data


class JobCloneSerializer(StrictSerializer):
    """All of it may be left out: what is, stays as it was."""

    name = serializers.CharField(max_length=200, required=False)
    project_id = ProjectField()
    start = serializers.BooleanField(required=False, default=True)
    train = TrainSerializer(required=False)
    lora = LoraSerializer(required=False)
    columns = ColumnsSerializer(required=False)
    resources = ResourcesSerializer(required=False)
    eval = EvalSerializer(required=False)
    export = ExportField(required=False)
    step = serializers.IntegerField(
        min_value=1,
        max_value=LARGEST,
        required=False,
        allow_null=True,
        help_text="Of the checkpoint to go on from. Not given: it begins anew.",
    )


class PartitionSerializer(serializers.ModelSerializer[Partition]):
    workers = serializers.SerializerMethodField()

    class Meta:
        model = Partition
        fields = ["id", "name", "description", "workers", "created_at"]

    @extend_schema_field(shapes.WorkerSerializer(many=True))
    def get_workers(self, partition: Partition) -> list[dict[str, Any]]:
        return [
            {
                "name": worker.name,
                "seen_at": serializers.DateTimeField().to_representation(worker.seen_at),
                "cpu_threads": worker.cpu_threads,
                "cpu_gflops": worker.cpu_gflops,
                "host_memory_mb": worker.host_memory_mb,
                "host_memory_free_mb": worker.host_memory_free_mb,
                "driver": worker.driver,
                "devices": [
                    {
                        "kind": device.kind,
                        "index": device.index,
                        "name": device.name,
                        "gpu_type": device.gpu_type,
                        "memory_mb": device.memory_mb,
                        "memory_free_mb": device.memory_free_mb,
                        "compute_capability": device.compute_capability,
                        "card_index": device.card_index,
                        "busy": hasattr(device, "lease"),
                    }
                    for device in worker.devices.all()
                ],
            }
            for worker in partition.workers.all()
        ]


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    project_id = serializers.UUIDField(read_only=True, allow_null=True)
    base_model_id = serializers.UUIDField(read_only=True)
    dataset_id = serializers.UUIDField(read_only=True)
    recipe_id = serializers.UUIDField(read_only=True)
    columns = ShapedJSON(ColumnsSerializer)
    adapters = ShapedJSON(AdapterReference(many=True))
    train = ShapedJSON(TrainSerializer)
    lora = ShapedJSON(LoraSerializer)
    resources = ShapedJSON(ResourcesSerializer)
    eval = ShapedJSON(EvalSerializer)
    export = ExportField(read_only=True)
    resume_from_checkpoint = ShapedJSON(shapes.CheckpointReferenceSerializer, allow_null=True)
    preflight = ShapedJSON(shapes.PreflightReportSerializer)

    class Meta:
        model = Experiment
        fields = [
            "id", "project_id", "name", "base_model_id", "dataset_id", "recipe_id",
            "recipe_version", "columns", "adapters", "train", "lora", "resources", "eval", "export",
            "resume_from_checkpoint", "preflight", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class JobSerializer(serializers.ModelSerializer[Job]):
    """The full job object. Its settings are the experiment's."""

    experiment_id = serializers.UUIDField(read_only=True)
    project_id = serializers.UUIDField(read_only=True, allow_null=True)
    user_id = serializers.UUIDField(source="created_by_id", read_only=True, allow_null=True)
    base_model_id = serializers.UUIDField(source="experiment.base_model_id", read_only=True)
    dataset_id = serializers.UUIDField(source="experiment.dataset_id", read_only=True)
    recipe_id = serializers.UUIDField(source="experiment.recipe_id", read_only=True)
    columns = ShapedJSON(ColumnsSerializer, source="experiment.columns")
    adapters = ShapedJSON(AdapterReference(many=True), source="experiment.adapters")
    train = ShapedJSON(TrainSerializer, source="experiment.train")
    lora = ShapedJSON(LoraSerializer, source="experiment.lora")
    resources = ShapedJSON(ResourcesSerializer, source="experiment.resources")
    eval = ShapedJSON(EvalSerializer, source="experiment.eval")
    export = ExportField(source="experiment.export", read_only=True)
    resume_from_checkpoint = ShapedJSON(
        shapes.CheckpointReferenceSerializer,
        source="experiment.resume_from_checkpoint",
        allow_null=True,
    )
    preflight = ShapedJSON(shapes.PreflightReportSerializer, source="experiment.preflight")
    metadata = serializers.DictField(read_only=True)
    strategy = serializers.SerializerMethodField()
    progress = ShapedJSON(shapes.ProgressSerializer)
    priority = serializers.IntegerField(read_only=True)
    worker = serializers.CharField(read_only=True, allow_null=True)
    last_metrics = ShapedJSON(shapes.LastMetricsSerializer)
    evaluation = ShapedJSON(shapes.EvaluationSerializer)
    failure = ShapedJSON(shapes.FailureSerializer, allow_null=True)
    result = ShapedJSON(shapes.ResultSerializer, allow_null=True)

    class Meta:
        model = Job
        fields = [
            "id", "experiment_id", "project_id", "user_id", "name", "status", "created_at",
            "updated_at", "celery_task_id", "base_model_id", "dataset_id", "recipe_id", "columns",
            "adapters", "train", "lora", "strategy", "resources", "eval", "export",
            "resume_from_checkpoint", "metadata", "preflight", "progress", "last_metrics",
            "evaluation", "failure", "result", "waiting_reason", "priority", "attempt", "worker",
            "cancel_requested_at", "queued_at", "started_at", "finished_at", "cursor",
        ]  # fmt: skip

    @extend_schema_field(shapes.JobStrategySerializer)
    def get_strategy(self, job: Job) -> dict[str, Any]:
        resources = job.experiment.resources
        return {
            "type": resources.get("strategy"),
            "mixed_precision": resources.get("mixed_precision"),
        }


class ArtifactSerializer(serializers.ModelSerializer[Artifact]):
    class Meta:
        model = Artifact
        fields = ["id", "kind", "path", "size_bytes", "sha256", "created_at"]
        read_only_fields = fields


class CheckpointSerializer(serializers.ModelSerializer[Checkpoint]):
    class Meta:
        model = Checkpoint
        fields = ["step", "path", "size_bytes", "created_at"]
        read_only_fields = fields


class JobDetailSerializer(JobSerializer):
    """One job with its experiment and what it has made."""

    experiment = ExperimentSerializer(read_only=True)
    artifacts = serializers.SerializerMethodField()

    class Meta(JobSerializer.Meta):
        fields = [*JobSerializer.Meta.fields, "experiment", "artifacts"]

    @extend_schema_field(ArtifactSerializer(many=True))
    def get_artifacts(self, job: Job) -> Any:
        return ArtifactSerializer(job.artifacts.all(), many=True).data


class MetricSerializer(serializers.ModelSerializer[Metric]):
    class Meta:
        model = Metric
        fields = [
            "step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "tokens_per_s",
            "samples_per_s", "memory_mb", "logged_at", "cursor",
        ]  # fmt: skip
        read_only_fields = fields


class JobEventSerializer(serializers.ModelSerializer[JobEvent]):
    facts = serializers.DictField(read_only=True)

    class Meta:
        model = JobEvent
        fields = ["cursor", "event", "step", "message", "facts", "created_at"]
        read_only_fields = fields
