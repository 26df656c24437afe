"""/api/partitions, /api/experiments and /api/jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.idempotency import RepeatableCreate
from accounts.models import Project
from accounts.scoping import may_change
from api.errors import BadRequest, Conflict
from api.etags import Tagged
from api.views import UUIDLookup
from training import again, checkpoints, judging, services
from training.api import examples, filters, plans, serializers, shapes
from training.api.files import FilesOfAJob
from training.lifecycle import IllegalMove
from training.models import Device, Experiment, Job, Partition, Worker


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

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove it with all its jobs, their numbers, logs and checkpoints. What they have made
        stays in the registry, files and all. Where one of them is at work or waits, nothing is
        removed, and that one has to be cancelled first (409)."""
        experiment = self.get_object()
        if not may_change(request.user, experiment.project_id):
            raise PermissionDenied
        try:
            services.delete_experiment(experiment, actor=request.user)
        except services.StillOpen as error:
            raise Conflict(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        request=plans.PreflightSerializer,
        responses=shapes.PreflightReportSerializer,
        examples=examples.PREFLIGHT,
    )
    @action(detail=False, methods=["post"])
    def preflight(self, request: Request) -> Response:
        """Judge an experiment without writing anything down. Of quotas, that of the project which
        a job would be made in by the same body."""
        body = plans.PreflightSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        plan = dict(body.validated_data)
        project = plan.pop("project", None)
        if "project_id" not in request.data:
            project = Project.objects.visible_to(request.user).filter(is_default=True).first()
        report = judging.judge(judging.complete(plan), project)
        return Response(report.as_dict())


@extend_schema_view(
    create=extend_schema(
        request=serializers.JobCreateSerializer,
        responses={201: serializers.JobDetailSerializer},
        examples=examples.JOB_CREATE,
    )
)
class JobViewSet(RepeatableCreate, FilesOfAJob, ListAndDetail):
    serializer_class = serializers.JobDetailSerializer
    filterset_class = filters.JobFilter
    plural = "jobs"
    limit = 100
    numbered = ("step", "artifact_id")

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

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove it with its numbers, log and checkpoints. What it has made stays in the registry,
        files and all. One that is at work or waits has to be cancelled first (409)."""
        job = self.get_object()
        self._refuse_viewer(job)
        try:
            services.delete(job, actor=request.user)
        except services.StillOpen as error:
            raise Conflict(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        request=serializers.JobCloneSerializer, responses={201: serializers.JobDetailSerializer}
    )
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str) -> Response:
        """A new job with the same settings, but for those that the body names. With `step` it goes
        on from that checkpoint."""
        job = self.get_object()
        body = serializers.JobCloneSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        project = asked.pop("project", None)
        project_id = project.pk if project else job.project_id
        if not may_change(request.user, project_id):
            raise PermissionDenied
        step = asked.pop("step", None)
        patch = {name: asked[name] for name in (*again.SECTIONS, "export") if name in asked}
        checkpoint = self._checkpoint(str(step)) if step else None
        if checkpoint is not None:
            whole = judging.complete(again.changed(again.plan_of(job.experiment), patch))
            if problems := checkpoints.why_not_resume(checkpoint, whole):
                raise ValidationError(problems)
        try:
            made = again.clone(
                job,
                actor=request.user,
                project_id=project_id,
                name=asked.get("name", ""),
                start_it=asked["start"],
                patch=patch,
                resume_from=checkpoint,
            )
        except services.PreflightFailed as error:
            raise BadRequest(str(error), {"preflight": error.report.as_dict()}) from error
        return self._created(made)

    def _created(self, job: Job) -> Response:
        return Response(
            serializers.JobDetailSerializer(job, context=self.get_serializer_context()).data,
            status=status.HTTP_201_CREATED,
            headers={"Location": f"/api/jobs/{job.pk}"},
        )

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
        self._refuse_viewer(job)
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
