"""/api/transfers: what comes in from the hub, and what goes out to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.filters import ProjectFilter
from accounts.api.idempotency import RepeatableCreate
from accounts.api.serializers import ProjectField
from accounts.models import Project
from accounts.scoping import may_change
from activity.outgoing.http import NotAllowed, check_url
from api.errors import Conflict
from api.etags import Tagged
from api.fields import ShapedJSON
from api.filters import FilterSet, KnownChoiceFilter, KnownChoicesFilter, Ordering, SearchFilter
from api.pagination import LARGEST
from api.plain import is_plain
from api.views import UUIDLookup
from registry.hub import checking, services
from registry.hub.models import Kind, Status, Transfer, TransferFile
from registry.models import Adapter, BaseModel

# As huggingface_hub.utils.validate_repo_id has it.
_REPO_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9](?:[\w.-]{0,94}\w)?(?:/\w(?:[\w.-]{0,94}\w)?)?")
_REVISION = re.compile(r"(?!.*(\.\.|//))[\w][\w./+-]{0,99}", re.ASCII)
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
# DRF looks for it anywhere in the text.
_EXPORT = r"^[a-z0-9_]{1,40}$"


def checked_address(url: str, field: str = "") -> str:
    """Raises ValidationError for what cannot be asked, naming ``field`` where that is not known."""
    try:
        if url:
            check_url(url)
    except NotAllowed as error:
        raise serializers.ValidationError({field: str(error)} if field else str(error)) from error
    return url


class PatternsField(serializers.ListField):
    child = serializers.CharField(max_length=200)


class LeftOutSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    size_bytes = serializers.IntegerField()
    reason = serializers.CharField()


class TransferProgressSerializer(serializers.Serializer[Any]):
    percent = serializers.FloatField()
    bytes_transferred = serializers.IntegerField()
    size_bytes = serializers.IntegerField(allow_null=True)
    files_done = serializers.IntegerField()
    files_total = serializers.IntegerField(allow_null=True)
    rate_bytes_s = serializers.FloatField(allow_null=True)
    eta_s = serializers.FloatField(allow_null=True)


class TransferFailureSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    message = serializers.CharField()
    advice = serializers.CharField(allow_blank=True)


class TransferResultSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["dataset", "base_model", "commit"])
    id = serializers.CharField(help_text="Of the registry's entry, or of the commit on the hub.")
    name = serializers.CharField()
    url = serializers.CharField(required=False, help_text="Of an upload's commit.")


class TransferSerializer(serializers.ModelSerializer[Transfer]):
    user_id = serializers.UUIDField(source="created_by_id", read_only=True, allow_null=True)
    project_id = ProjectField()
    name = serializers.CharField(
        max_length=200, required=False, help_text="In the registry. Default: the repository's."
    )
    allow_patterns = PatternsField(required=False, max_length=100)
    ignore_patterns = PatternsField(required=False, max_length=100)
    model_id = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="Of an upload: the base model or adapter that is sent.",
    )
    exports = serializers.ListField(
        child=serializers.RegexField(_EXPORT),
        required=False,
        max_length=10,
        help_text="Of an upload: other exports of the model's job that go with it, such as gguf.",
    )
    bandwidth_limit = serializers.IntegerField(
        min_value=1, max_value=LARGEST, allow_null=True, required=False, help_text="Bytes a second."
    )
    phase = serializers.CharField(
        read_only=True, help_text="While it runs: listing, moving or checking; else empty."
    )
    progress = ShapedJSON(TransferProgressSerializer)
    left_out = ShapedJSON(LeftOutSerializer(many=True))
    notes = serializers.ListField(child=serializers.CharField(), read_only=True)
    failure = ShapedJSON(TransferFailureSerializer, allow_null=True)
    result = ShapedJSON(TransferResultSerializer, allow_null=True)

    class Meta:
        model = Transfer
        fields = [
            "id", "kind", "name", "project_id", "user_id", "url", "endpoint_url", "region",
            "hf_repo_id", "hf_revision", "hf_commit", "allow_patterns", "ignore_patterns",
            "bandwidth_limit", "model_id", "exports", "private", "status", "phase", "progress",
            "size_bytes", "bytes_transferred", "waiting_reason", "notes", "left_out", "failure",
            "result", "attempt", "created_at", "updated_at", "queued_at", "started_at",
            "finished_at",
        ]  # fmt: skip
        read_only_fields = [
            "id", "hf_commit", "status", "size_bytes", "bytes_transferred",
            "waiting_reason", "attempt", "created_at", "updated_at", "queued_at", "started_at",
            "finished_at",
        ]  # fmt: skip

    def to_representation(self, instance: Transfer) -> dict[str, Any]:
        instance.model_id = instance.entry_id if instance.is_upload else None  # type: ignore[attr-defined]
        return super().to_representation(instance)

    def validate_hf_repo_id(self, repo_id: str) -> str:
        if repo_id and not _REPO_ID.fullmatch(repo_id):
            raise serializers.ValidationError("This is owner/name, as in the hub's addresses.")
        return repo_id

    def validate_hf_revision(self, revision: str) -> str:
        if not _REVISION.fullmatch(revision):
            raise serializers.ValidationError("This is a branch, a tag or a commit.")
        return revision

    def validate_name(self, name: str) -> str:
        if not is_plain(name):
            raise serializers.ValidationError("NUL and lone surrogates are not allowed.")
        return name

    def validate_endpoint_url(self, url: str) -> str:
        return checked_address(url.rstrip("/"))

    def validate_region(self, region: str) -> str:
        if region and not _REGION.fullmatch(region):
            raise serializers.ValidationError("This is a name such as eu-central-1.")
        return region

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        user = self.context["request"].user
        self._one_place(attrs)
        model_id = attrs.pop("model_id", None)
        if attrs["kind"] == Kind.HF_UPLOAD:
            entry = self._entry(model_id)
            attrs["entry_id"] = entry.pk
            attrs.setdefault("name", entry.name)
            attrs.setdefault("project", entry.project or Project.objects.default())
        elif model_id is not None or attrs.get("exports"):
            raise serializers.ValidationError({"model_id": "Only an upload sends a model."})
        attrs.setdefault("project", Project.objects.default())
        project = attrs["project"]
        if not may_change(user, project.pk if project else None):
            raise PermissionDenied
        return attrs

    def _one_place(self, attrs: dict[str, Any]) -> None:
        """A repository of the hub, a web address or a bucket, as the kind asks for."""
        is_web = attrs["kind"] in (Kind.URL_DATASET, Kind.URL_MODEL)
        is_bucket = attrs["kind"] in (Kind.S3_DATASET, Kind.S3_MODEL)
        wanted, other = "hf_repo_id", "url"
        if is_web or is_bucket:
            wanted, other = other, wanted
        if not attrs.get(wanted):
            raise serializers.ValidationError(
                {wanted: f"A transfer of kind {attrs['kind']} needs it."}
            )
        if attrs.get(other):
            raise serializers.ValidationError({other: "Only one of hf_repo_id and url."})
        if is_bucket and not (_BUCKET.fullmatch(attrs["url"]) and is_plain(attrs["url"])):
            raise serializers.ValidationError(
                {"url": "This is s3://bucket, with the path of a folder or a file behind it."}
            )
        if is_web:
            attrs["url"] = checked_address(attrs["url"], field="url")
        refusals = {
            "endpoint_url": "" if is_bucket else "Only a bucket has an endpoint.",
            "region": "" if is_bucket else "Only a bucket has a region.",
            "hf_revision": "Only a repository has revisions." if wanted == "url" else "",
            "allow_patterns": "A web address is one file." if is_web else "",
            "ignore_patterns": "A web address is one file." if is_web else "",
        }
        for name, refusal in refusals.items():
            if refusal and attrs.get(name):
                raise serializers.ValidationError({name: refusal})

    def _entry(self, model_id: Any) -> BaseModel | Adapter:
        """A model that the asker may give away: what is another project's stays there."""
        user = self.context["request"].user
        kinds: tuple[type[BaseModel], type[Adapter]] = (BaseModel, Adapter)
        found = [kind.objects.visible_to(user).filter(pk=model_id).first() for kind in kinds]
        entry: BaseModel | Adapter | None = next((e for e in found if e is not None), None)
        if entry is None:
            raise serializers.ValidationError(
                {"model_id": "An upload needs the id of a base model or an adapter."}
            )
        if entry.project_id is not None and not may_change(user, entry.project_id):
            raise serializers.ValidationError({"model_id": "You may only look at this model."})
        return entry

    def create(self, validated_data: dict[str, Any]) -> Transfer:
        return services.create(user=self.context["request"].user, **validated_data)


class TransferFileSerializer(serializers.ModelSerializer[TransferFile]):
    is_done = serializers.BooleanField(read_only=True)

    class Meta:
        model = TransferFile
        fields = ["path", "size_bytes", "sha256", "is_done"]
        read_only_fields = fields


class CheckedFileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    size_bytes = serializers.IntegerField()


class TransferCheckSerializer(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    hf_commit = serializers.CharField(allow_blank=True)
    size_bytes = serializers.IntegerField(allow_null=True)
    files_total = serializers.IntegerField()
    files = CheckedFileSerializer(many=True, help_text="The first 500.")
    left_out = LeftOutSerializer(many=True)
    notes = serializers.ListField(child=serializers.CharField())
    free_bytes = serializers.IntegerField(help_text="On the disk now.")
    failure = TransferFailureSerializer(allow_null=True)
    passes = serializers.BooleanField(help_text="What stands in the way may pass by itself.")


class TransferFilter(FilterSet):
    status = KnownChoicesFilter(choices=Status.choices)
    kind = KnownChoiceFilter(choices=Kind.choices)
    project = ProjectFilter()
    search = SearchFilter(in_fields=("name", "hf_repo_id", "url"))
    q = SearchFilter(in_fields=("name", "hf_repo_id", "url"))
    ordering = Ordering(
        *("name", "hf_repo_id", "kind", "status", "size_bytes", "created_at", "updated_at"),
        *("queued_at", "started_at", "finished_at"),
    )

    class Meta:
        model = Transfer
        fields: list[str] = []


class TransferFileFilter(FilterSet):
    ordering = Ordering("path", "size_bytes")

    class Meta:
        model = TransferFile
        fields: list[str] = []


ALPACA = OpenApiExample(
    "A dataset",
    {"kind": "hf_dataset", "hf_repo_id": "yahma/alpaca-cleaned"},
    request_only=True,
)


@extend_schema_view(create=extend_schema(examples=[ALPACA]))
class TransferViewSet(
    RepeatableCreate, UUIDLookup, mixins.ListModelMixin, Tagged, viewsets.GenericViewSet[Transfer]
):
    """A transfer is put into the queue at once, and goes on by itself."""

    serializer_class = TransferSerializer
    filterset_class = TransferFilter
    plural = "transfers"
    limit = 100
    # What moves while it runs.
    passing = ("progress", "bytes_transferred", "updated_at", "phase")

    def get_queryset(self) -> Any:
        return Transfer.objects.visible_to(self.request.user)

    @extend_schema(request=TransferSerializer, responses=TransferCheckSerializer)
    @action(detail=False, methods=["post"])
    def check(self, request: Request) -> Response:
        """Ask the hub what a transfer would bring: size, files, what is left out, and whether it
        fits. Nothing is written down."""
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        values = dict(body.validated_data)
        values.setdefault("name", "")
        return Response(asdict(checking.check(Transfer(**values))))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """It stops within a second; what has come stays."""
        return self._moved_by(services.pause)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on from the byte where it stopped."""
        return self._moved_by(services.resume)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop it for good, or give up one that failed, and remove what has come."""
        return self._moved_by(services.cancel)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """A failed one goes on from where it stopped, a cancelled one begins anew."""
        return self._moved_by(services.retry)

    def _moved_by(self, verb: Callable[..., Transfer]) -> Response:
        transfer = self.get_object()
        if not may_change(self.request.user, transfer.project_id):
            raise PermissionDenied
        try:
            verb(transfer, actor=self.request.user)
        except services.IllegalMove as error:
            raise Conflict(str(error)) from error
        return Response(self.get_serializer(transfer).data)

    @extend_schema(responses=TransferFileSerializer(many=True))
    @action(detail=True, plural="files", limit=None, filterset_class=TransferFileFilter)
    def files(self, request: Request, pk: str) -> Response:
        """What it brings or sends; ``sha256`` is there once a file is whole and compared."""
        rows = self.get_object().files.order_by("path")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(TransferFileSerializer(page, many=True).data)
