"""What a job has written: its checkpoints, the files of its result and its log, to be had whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.text import slugify
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.scoping import may_change
from api import downloads
from api.download_schema import BINARY, RANGE, RANGED
from api.errors import BadRequest, Conflict
from api.pagination import LARGEST, whole_number
from training import again, checkpoints, run_log, services
from training.api import filters, serializers, shapes
from training.models import Checkpoint, Job
from training.run_plan import export_dir, run_dir

LOG_OFFSET = OpenApiParameter(
    "offset",
    {"type": "integer", "minimum": 0, "maximum": LARGEST},
    description="The byte to begin with. Without it: the last lines.",
)
SEARCH = (
    OpenApiParameter(
        "q",
        {"type": "string", "minLength": 1, "maxLength": run_log.LONGEST_SEARCH},
        required=True,
        description="The words to look for, in capitals or not.",
    ),
    OpenApiParameter(
        "offset",
        {"type": "integer", "minimum": 0, "maximum": LARGEST, "default": 0},
        description="The byte to begin with: `next_offset` of the answer before.",
    ),
)


class FilesOfAJob(viewsets.GenericViewSet[Any]):
    """Actions of the viewset of jobs."""

    @extend_schema(responses=serializers.CheckpointSerializer(many=True))
    @action(detail=True, plural="checkpoints", limit=None, filterset_class=filters.CheckpointFilter)
    def checkpoints(self, request: Request, pk: str) -> Response:
        """Points that it can go on from."""
        rows = self.get_object().checkpoints.order_by("step")
        return self._list(rows, serializers.CheckpointSerializer)

    @extend_schema(methods=["GET"], responses=serializers.CheckpointSerializer)
    @extend_schema(methods=["DELETE"], responses={204: None})
    @action(detail=True, methods=["get", "delete"], url_path=r"checkpoints/(?P<step>[0-9]{1,9})")
    def checkpoint(self, request: Request, pk: str, step: str) -> Response:
        """One of its checkpoints. DELETE removes the files too; a job that is at work, or that
        would go on from there, keeps it (409)."""
        found = self._checkpoint(step)
        if request.method != "DELETE":
            return Response(serializers.CheckpointSerializer(found).data)
        self._refuse_viewer(found.job)
        try:
            checkpoints.delete(found, actor=request.user)
        except checkpoints.CannotBeDone as error:
            raise Conflict(str(error)) from error
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses=BINARY)
    @action(detail=True, url_path=r"checkpoints/(?P<step>[0-9]{1,9})/download")
    def download_checkpoint(self, request: Request, pk: str, step: str) -> HttpResponseBase:
        """All files of a checkpoint, as a tar archive."""
        found = self._checkpoint(step)
        folder = checkpoints.folder_of(found)
        name = f"{file_name(found.job)}-{folder.name}"
        return downloads.archive(request, folder, root=run_dir(found.job), name=name)

    @extend_schema(request=None, responses={201: serializers.JobDetailSerializer})
    @action(detail=True, methods=["post"], url_path=r"checkpoints/(?P<step>[0-9]{1,9})/evaluate")
    def evaluate_checkpoint(self, request: Request, pk: str, step: str) -> Response:
        """A job that takes no further step: it measures the checkpoint as the end of a run is
        measured, and registers it. Answers with that job."""
        found = self._checkpoint(step)
        self._refuse_viewer(found.job)
        try:
            job = again.evaluate(found, actor=request.user)
        except services.PreflightFailed as error:
            raise BadRequest(str(error), {"preflight": error.report.as_dict()}) from error
        except checkpoints.CannotBeDone as error:
            raise Conflict(str(error)) from error
        return self._created(job)

    @extend_schema(responses=serializers.ArtifactSerializer(many=True))
    @action(detail=True, plural="artifacts", limit=None, filterset_class=filters.ArtifactFilter)
    def artifacts(self, request: Request, pk: str) -> Response:
        """The files that it has made, with their SHA-256."""
        rows = self.get_object().artifacts.order_by("kind", "path")
        return self._list(rows, serializers.ArtifactSerializer)

    @extend_schema(parameters=[RANGE], responses=RANGED)
    @action(detail=True, url_path=r"artifacts/(?P<artifact_id>[0-9]{1,18})/download")
    def download_artifact(self, request: Request, pk: str, artifact_id: str) -> HttpResponseBase:
        """One of the files that it has made. Its SHA-256 is the ETag, and in `Repr-Digest`."""
        job = self.get_object()
        found = get_object_or_404(job.artifacts, pk=int(artifact_id))
        path = Path(found.path)
        return downloads.file(request, path, root=export_dir(job), sha256=found.sha256)

    @extend_schema(operation_id="jobs_artifacts_archive", responses=BINARY)
    @action(detail=True, url_path="artifacts/download")
    def download_artifacts(self, request: Request, pk: str) -> HttpResponseBase:
        """All the files that it has made, as a tar archive."""
        job = self.get_object()
        root = export_dir(job)
        paths = {}
        for artifact in job.artifacts.all():
            path = Path(artifact.path)
            inner = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
            paths[str(inner)] = path
        return downloads.files_archive(request, paths, root, file_name(job))

    @extend_schema(responses=shapes.LogPartSerializer)
    @action(detail=True, takes=(LOG_OFFSET,))
    def logs(self, request: Request, pk: str) -> Response:
        """The trainer's log from byte ``offset``; without one, its last lines."""
        job, offset = self.get_object(), whole_number(request, "offset", None)
        part = run_log.tail(job) if offset is None else run_log.read(job, offset)
        return Response(asdict(part))

    @extend_schema(responses=shapes.LogFoundSerializer)
    @action(detail=True, url_path="logs/search", takes=SEARCH)
    def search_logs(self, request: Request, pk: str) -> Response:
        """The lines of the log that have these words in them, and the byte at which each begins.
        A long log is looked through in parts: go on from `next_offset` until it is `size`."""
        words = request.query_params.get("q", "")
        if not words or len(words) > run_log.LONGEST_SEARCH or "\n" in words:
            raise ValidationError({"q": f"One to {run_log.LONGEST_SEARCH} characters of one line."})
        job, offset = self.get_object(), whole_number(request, "offset", 0) or 0
        return Response(asdict(run_log.search(job, words, offset)))

    @extend_schema(parameters=[RANGE], responses=RANGED)
    @action(detail=True, url_path="logs/download")
    def download_log(self, request: Request, pk: str) -> HttpResponseBase:
        """The whole log as a file."""
        job = self.get_object()
        name = f"{file_name(job)}.log"
        return downloads.file(request, run_log.path_of(job), root=run_dir(job), name=name)

    def _checkpoint(self, step: str) -> Checkpoint:
        """Of a job that the asker sees."""
        job = self.get_object()
        found: Checkpoint = get_object_or_404(job.checkpoints, step=int(step))
        found.job = job
        return found

    def _refuse_viewer(self, job: Job) -> None:
        if not may_change(self.request.user, job.project_id):
            raise PermissionDenied

    def _list(self, rows: Any, serializer: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(serializer(page, many=True).data)

    def _created(self, job: Job) -> Response:
        raise NotImplementedError


def file_name(job: Job) -> str:
    """Of a job, for the disk of whoever downloads from it."""
    return slugify(job.name)[:80] or f"job-{str(job.pk)[:8]}"
