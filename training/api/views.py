"""/api/partitions, /api/experiments and /api/jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.db.models import Prefetch
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.idempotency import RepeatableCreate
from accounts.models import Project
from accounts.scoping import may_change
from api.errors import BadRequest, Conflict
from api.etags import Tagged
from api.pagination import LARGEST, whole_number
from api.views import UUIDLookup
from training import checking, run_log, services
from training.api import examples, filters, plans, serializers, shapes
from training.lifecycle import IllegalMove
from training.models import Device, Experiment, Job, Partition, Worker

LOG_OFFSET = OpenApiParameter(
    "offset",
    {"type": "integer", "minimum": 0, "maximum": LARGEST},
    description="The byte to begin with. Without it: the last lines.",
)


class ListAndDetail(UUIDLookup, mixins.ListModelMixin, Tagged, viewsets.GenericViewSet[Any]):
    pass


class PartitionViewSet(ListAndDetail):
    serializer_class = serializers.PartitionSerializer
    filterset_class = filters.PartitionFilter
    plural = "partitions"

    def get_queryset(self) -> Any:
        devices = Device.objects.select_related("lease")
        workers = Worker.objects.prefetch_related(Prefetch("devices", queryset=devices))
        return Partition.objects.prefetch_related(Prefetch("workers", queryset=workers))


class ExperimentViewSet(ListAndDetail):
    serializer_class = serializers.ExperimentSerializer
    filterset_class = filters.ExperimentFilter
    plural = "experiments"
    limit = 100

    def get_queryset(self) -> Any:
        return Experiment.objects.visible_to(self.request.user)

    @extend_schema(
        request=plans.PlanSerializer,
        responses=shapes.PreflightReportSerializer,
        examples=examples.PREFLIGHT,
    )
    @action(detail=False, methods=["post"])
    def preflight(self, request: Request) -> Response:
        """Judge an experiment without writing anything down."""
        body = plans.PlanSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        return Response(checking.check(services.complete(body.validated_data)).as_dict())


@extend_schema_view(
    create=extend_schema(
        request=serializers.JobCreateSerializer,
        responses={201: serializers.JobDetailSerializer},
        examples=examples.JOB_CREATE,
    )
)
class JobViewSet(RepeatableCreate, ListAndDetail):
    serializer_class = serializers.JobDetailSerializer
    filterset_class = filters.JobFilter
    plural = "jobs"
    limit = 100

    def get_queryset(self) -> Any:
        return Job.objects.visible_to(self.request.user).with_everything()

    def get_serializer_class(self) -> Any:
        by_action = {
            "list": serializers.JobSerializer,
            "create": serializers.JobCreateSerializer,
        }
        return by_action.get(self.action, self.serializer_class)

    def perform_create(self, serializer: Any) -> None:
        plan = dict(serializer.validated_data)
        project = plan.pop("project", None)
        if "project_id" not in self.request.data:
            project = Project.objects.default()
        if not may_change(self.request.user, project.pk if project else None):
            raise PermissionDenied
        try:
            serializer.instance = services.create_job(
                name=plan.pop("name"),
                metadata=plan.pop("metadata", None),
                start_it=plan.pop("start"),
                plan=plan,
                actor=self.request.user,
                project_id=project.pk if project else None,
                also=self.keep_answer,
            )
        except services.PreflightFailed as error:
            raise BadRequest(str(error), {"preflight": error.report.as_dict()}) from error

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        return self._do(services.start)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._do(services.cancel)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._do(services.pause)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        return self._do(services.resume)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        return self._do(services.retry)

    def _do(self, verb: Callable[..., Job]) -> Response:
        job = self.get_object()
        if not may_change(self.request.user, job.project_id):
            raise PermissionDenied
        try:
            verb(job, actor=self.request.user)
        except IllegalMove as error:
            raise Conflict(str(error)) from error
        return Response(self.get_serializer(job).data)

    @extend_schema(responses=serializers.MetricSerializer(many=True))
    @action(detail=True, plural="metrics", limit=None, filterset_class=filters.MetricFilter)
    def metrics(self, request: Request, pk: str) -> Response:
        """A row for each logged step; with ``?points=`` at most so many, evenly, with the last."""
        rows = self.get_object().metrics.order_by("step")
        return self._list(rows, serializers.MetricSerializer)

    @extend_schema(responses=serializers.JobEventSerializer(many=True))
    @action(detail=True, plural="events", limit=None, filterset_class=filters.JobEventFilter)
    def events(self, request: Request, pk: str) -> Response:
        """What happened to it, in order."""
        rows = self.get_object().events.order_by("cursor")
        return self._list(rows, serializers.JobEventSerializer)

    @extend_schema(responses=serializers.CheckpointSerializer(many=True))
    @action(detail=True, plural="checkpoints", limit=None, filterset_class=filters.CheckpointFilter)
    def checkpoints(self, request: Request, pk: str) -> Response:
        """Points that it can go on from."""
        rows = self.get_object().checkpoints.order_by("step")
        return self._list(rows, serializers.CheckpointSerializer)

    @extend_schema(responses=serializers.ArtifactSerializer(many=True))
    @action(detail=True, plural="artifacts", limit=None, filterset_class=filters.ArtifactFilter)
    def artifacts(self, request: Request, pk: str) -> Response:
        """The files that it has made, with their SHA-256."""
        rows = self.get_object().artifacts.order_by("kind", "path")
        return self._list(rows, serializers.ArtifactSerializer)

    def _list(self, rows: Any, serializer: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(serializer(page, many=True).data)

    @extend_schema(responses=shapes.LogPartSerializer)
    @action(detail=True, takes=(LOG_OFFSET,))
    def logs(self, request: Request, pk: str) -> Response:
        """The trainer's log from byte ``offset``; without one, its last lines."""
        job, offset = self.get_object(), whole_number(request, "offset", None)
        part = run_log.tail(job) if offset is None else run_log.read(job, offset)
        return Response(asdict(part))
