"""/api/experiments/probe."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import ProjectField
from accounts.models import Project
from accounts.scoping import may_change
from api.errors import BadRequest, Conflict
from api.etags import Tagged
from api.fields import ShapedJSON
from api.views import UUIDLookup
from training import probing, services
from training.api import examples, filters, plans, shapes
from training.models import Probe, Status


class ProbeResultSerializer(shapes.Shape):
    """What was measured. Where memory ran out, nothing but that and the preflight's report."""

    out_of_memory = serializers.BooleanField()
    message = serializers.CharField(required=False)
    peak_memory_mb = serializers.FloatField(
        required=False,
        help_text="On a GPU what torch had allocated at most, on the CPU all that the process "
        "occupied.",
    )
    step_time_ms = serializers.FloatField(
        required=False, help_text="Of the steps that the run would begin with."
    )
    longest_step_time_ms = serializers.FloatField(
        required=False, help_text="Of a step over the longest rows."
    )
    longest_tokens = serializers.IntegerField(required=False)
    tokens_per_second = serializers.FloatField(required=False)
    samples_per_second = serializers.FloatField(required=False)
    steps = serializers.IntegerField(required=False)
    report = shapes.PreflightReportSerializer(
        allow_null=True, help_text="The preflight again, corrected by what was measured."
    )


class ProbeCreateSerializer(plans.PlanSerializer):
    project_id = ProjectField()


class ProbeSerializer(serializers.ModelSerializer[Probe]):
    """A probe. Out of memory is a result, not a failure."""

    project_id = serializers.UUIDField(read_only=True, allow_null=True)
    user_id = serializers.UUIDField(source="created_by_id", read_only=True, allow_null=True)
    base_model_id = serializers.UUIDField(read_only=True, allow_null=True)
    dataset_id = serializers.UUIDField(read_only=True, allow_null=True)
    recipe_id = serializers.UUIDField(read_only=True, allow_null=True)
    status = serializers.ChoiceField(choices=Status.choices, read_only=True)
    waiting_reason = serializers.CharField(read_only=True, allow_blank=True)
    train = ShapedJSON(plans.TrainSerializer)
    lora = ShapedJSON(plans.LoraSerializer)
    resources = ShapedJSON(plans.ResourcesSerializer)
    preflight = ShapedJSON(shapes.PreflightReportSerializer)
    result = ShapedJSON(ProbeResultSerializer, allow_null=True)
    failure = ShapedJSON(shapes.FailureSerializer, allow_null=True)

    class Meta:
        model = Probe
        fields = [
            "id", "project_id", "user_id", "base_model_id", "dataset_id", "recipe_id", "train",
            "lora", "resources", "preflight", "status", "waiting_reason", "result", "failure",
            "created_at", "started_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


@extend_schema_view(
    create=extend_schema(
        request=ProbeCreateSerializer,
        responses={202: ProbeSerializer},
        examples=examples.PROBE,
    )
)
class ProbeViewSet(UUIDLookup, mixins.ListModelMixin, Tagged, viewsets.GenericViewSet[Any]):
    serializer_class = ProbeSerializer
    filterset_class = filters.ProbeFilter
    plural = "probes"
    limit = 100

    def get_queryset(self) -> Any:
        return Probe.objects.visible_to(self.request.user).select_related("job")

    def create(self, request: Request) -> Response:
        """Run a few real steps on a worker and measure them. Poll the answer's `id` until its
        `status` is COMPLETED, FAILED or CANCELLED."""
        body = ProbeCreateSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        plan = dict(body.validated_data)
        project = plan.pop("project", None)
        if "project_id" not in request.data:
            project = Project.objects.default()
        if not may_change(request.user, project.pk if project else None):
            raise PermissionDenied
        try:
            probe = probing.create(
                plan=plan, actor=request.user, project_id=project.pk if project else None
            )
        except services.PreflightFailed as error:
            raise BadRequest(str(error), {"preflight": error.report.as_dict()}) from error
        return Response(
            self.get_serializer(probe).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"{request.path}/{probe.pk}"},
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop it. What it has measured until then is not kept."""
        probe = self.get_object()
        if not may_change(request.user, probe.project_id):
            raise PermissionDenied
        try:
            return Response(self.get_serializer(probing.cancel(probe, actor=request.user)).data)
        except probing.AlreadyOver as error:
            raise Conflict(str(error)) from error
