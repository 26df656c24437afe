"""/api/uploads: large files, a part at a time. tus 1.0 with creation, checksum, termination and
expiration (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from django.core.exceptions import BadRequest as DjangoBadRequest
from django.http import UnreadablePostError
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import exceptions, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import ProjectField
from accounts.models import Project
from accounts.scoping import may_change
from api.errors import BadRequest, Conflict
from api.views import UUIDLookup
from registry import services
from registry.api.filters import UploadFilter
from registry.api.serializers import BaseModelSerializer, DatasetSerializer, EntrySerializer
from registry.api.uploads import NoRoom, TooLarge
from registry.doctor import SPLITS
from registry.models import BaseModel, Dataset, Upload
from registry.uploads import model_registration, receiving, registration

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,checksum,expiration"
PART = "application/offset+octet-stream"
LARGEST = 2**63 - 1


class WrongVersion(exceptions.APIException):
    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "wrong_version"
    default_detail = f"Say which tus you speak: 'Tus-Resumable: {VERSION}'."


class Locked(exceptions.APIException):
    status_code = status.HTTP_423_LOCKED
    default_code = "locked"


class ChecksumMismatch(exceptions.APIException):
    status_code = 460  # tus' own
    default_code = "checksum_mismatch"


class Expired(exceptions.APIException):
    status_code = status.HTTP_410_GONE
    default_code = "expired"
    default_detail = "Nobody has continued this upload in time; begin anew."


class UploadSerializer(serializers.ModelSerializer[Upload]):
    """What has come of a file."""

    project_id = serializers.UUIDField(read_only=True)
    user_id = serializers.UUIDField(source="created_by_id", read_only=True, allow_null=True)

    class Meta:
        model = Upload
        ref_name = "ResumableUpload"
        fields = [
            "id", "project_id", "user_id", "file_name", "size_bytes", "offset", "sha256",
            "created_at", "expires_at",
        ]  # fmt: skip
        read_only_fields = fields


class UploadedModelFileSerializer(serializers.Serializer[Any]):
    upload_id = serializers.PrimaryKeyRelatedField[Upload](
        queryset=Upload.objects.none(), pk_field=serializers.UUIDField()
    )

    def get_fields(self) -> Any:
        fields = super().get_fields()
        request = self.context.get("request")
        if request is not None:
            visible = Upload.objects.visible_to(request.user)
            fields["upload_id"].queryset = visible  # type: ignore[attr-defined]
        return fields


class UploadedFileSerializer(UploadedModelFileSerializer):
    split = serializers.ChoiceField(
        choices=SPLITS, required=False, help_text="Left out: what the file's name says."
    )


class RegisterSerializer(EntrySerializer):
    """A dataset of files that have come: one or more of rows, or one archive of images (.zip, .tar,
    .tar.gz) with a folder for each class."""

    files = UploadedFileSerializer(many=True, allow_empty=False, write_only=True)

    class Meta:
        model = Dataset
        fields = ["files", "name", "version", "description", "modality", "project_id"]

    def create(self, validated_data: dict[str, Any]) -> Any:
        asked = validated_data.pop("files")
        uploads = [one["upload_id"] for one in asked]
        splits = [one.get("split", "") for one in asked]
        return _made_of(uploads, registration.register, self, validated_data, splits)

    def to_representation(self, instance: Dataset) -> dict[str, Any]:
        return DatasetSerializer(instance, context=self.context).data


class RegisterModelSerializer(EntrySerializer):
    """A model of files that have come: its safetensors or GGUF with what stands beside them, or
    one archive of its folder (.zip, .tar, .tar.gz)."""

    files = UploadedModelFileSerializer(many=True, allow_empty=False, write_only=True)

    class Meta:
        model = BaseModel
        fields = ["files", "name", "family", "description", "project_id"]

    def create(self, validated_data: dict[str, Any]) -> Any:
        uploads = [one["upload_id"] for one in validated_data.pop("files")]
        return _made_of(uploads, model_registration.register_model, self, validated_data)

    def to_representation(self, instance: BaseModel) -> dict[str, Any]:
        return BaseModelSerializer(instance, context=self.context).data


def _made_of(
    uploads: list[Upload],
    verb: Any,
    body: EntrySerializer,
    said: dict[str, Any],
    splits: list[str] | None = None,
) -> Any:
    """The entry that ``verb`` makes of the uploads, which are over then."""
    user = body.context["request"].user
    if len(set(uploads)) < len(uploads):
        raise serializers.ValidationError({"files": "An upload is named twice."})
    for upload in uploads:
        if not may_change(user, upload.project_id):
            raise exceptions.PermissionDenied
    try:
        files = [
            registration.Received.of(upload, split)
            for upload, split in zip(uploads, splits or [""] * len(uploads), strict=True)
        ]
        made = verb(user=user, files=files, **said)
    except services.CannotRegister as error:
        raise serializers.ValidationError({error.field: str(error)}) from error
    for upload in uploads:
        receiving.remove(upload)
    return made


def _header(name: str, description: str, kind: Any = str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.HEADER, description=description, **more)


RESUMABLE = _header("Tus-Resumable", f"`{VERSION}`", required=True, enum=[VERSION])
LENGTH = _header("Upload-Length", "Bytes of the whole file.", int, required=True)
METADATA = _header(
    "Upload-Metadata",
    "Names and values in Base64: `filename dHJhaW4uanNvbmw=,project_id …`.",
    required=True,
)
OFFSET = _header("Upload-Offset", "Where the part begins.", int, required=True)
CHECKSUM = _header("Upload-Checksum", "`sha256` or `sha1` of the part, in Base64.")


@extend_schema_view(list=extend_schema(), destroy=extend_schema(parameters=[RESUMABLE]))
class UploadViewSet(
    UUIDLookup,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[Any],
):
    serializer_class = UploadSerializer
    filterset_class = UploadFilter
    plural = "uploads"
    limit = 100
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self) -> Any:
        return Upload.objects.visible_to(self.request.user)

    def get_object(self) -> Any:
        upload = super().get_object()
        writes = self.request.method not in SAFE_METHODS
        if writes and not may_change(self.request.user, upload.project_id):
            raise exceptions.PermissionDenied
        return upload

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Tus-Resumable"] = VERSION
        if response.status_code == status.HTTP_412_PRECONDITION_FAILED:
            response["Tus-Version"] = VERSION
        return response

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """What this server can do."""
        return Response(
            status=status.HTTP_204_NO_CONTENT,
            headers={
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Max-Size": str(receiving.limit_bytes()),
                "Tus-Checksum-Algorithm": ",".join(receiving.CHECKSUMS),
            },
        )

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """How much has come: HEAD for tus, GET for everybody."""
        upload = self.get_object()
        if upload.is_expired:
            raise Expired
        return Response(self.get_serializer(upload).data, headers=_headers(upload))

    @extend_schema(
        request=None, parameters=[RESUMABLE, LENGTH, METADATA], responses={201: UploadSerializer}
    )
    def create(self, request: Request) -> Response:
        """Announce a file; its parts are sent to the `Location` of the answer."""
        _check_version(request)
        metadata = _metadata(request.headers.get("Upload-Metadata", ""))
        project = self._project(metadata.get("project_id"))
        try:
            upload = receiving.begin(
                user=request.user,
                project=project,
                file_name=metadata.get("filename", ""),
                size_bytes=_whole(request, "Upload-Length"),
            )
        except receiving.CannotUpload as error:
            raise exceptions.ValidationError({error.field: str(error)}) from error
        except receiving.TooLarge as error:
            raise TooLarge from error
        except receiving.NoRoom as error:
            raise NoRoom(error) from error
        return Response(
            self.get_serializer(upload).data,
            status=status.HTTP_201_CREATED,
            headers={"Location": f"/api/uploads/{upload.pk}", **_headers(upload)},
        )

    def _project(self, wanted: str | None) -> Project:
        if wanted is None:
            project = Project.objects.default()
        else:
            field = ProjectField()
            field._context = {"request": self.request}  # type: ignore[attr-defined]
            project = field.run_validation(wanted)
        if not may_change(self.request.user, project.pk):
            raise exceptions.PermissionDenied
        return project

    @extend_schema(
        request={PART: OpenApiTypes.BINARY},
        parameters=[RESUMABLE, OFFSET, CHECKSUM],
        responses={204: None},
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        """The next part. What has come stays when the connection breaks: ask by HEAD where to go
        on."""
        upload = self.get_object()
        _check_version(request)
        if request.content_type != PART:
            raise exceptions.UnsupportedMediaType(request.content_type or "none")
        if upload.is_expired:
            raise Expired
        offset, checksum = _whole(request, "Upload-Offset"), _checksum(request)
        try:
            receiving.receive(upload, offset, _reading(request), checksum)
        except receiving.WrongOffset as error:
            raise Conflict(str(error)) from error
        except receiving.InUse as error:
            raise Locked(str(error)) from error
        except receiving.WrongChecksum as error:
            raise ChecksumMismatch(str(error)) from error
        except receiving.TooLarge as error:
            raise BadRequest(str(error)) from error
        except receiving.NoRoom as error:
            raise NoRoom(error) from error
        except receiving.CannotUpload as error:
            raise exceptions.ValidationError({error.field: str(error)}) from error
        return Response(status=status.HTTP_204_NO_CONTENT, headers=_headers(upload))

    def destroy(self, request: Request, pk: str) -> Response:
        """It is not wanted any more; what has come is removed."""
        upload = self.get_object()
        _check_version(request)
        receiving.remove(upload)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=RegisterSerializer, responses={201: DatasetSerializer})
    @action(detail=False, methods=["post"])
    def register(self, request: Request) -> Response:
        """Make one dataset of files that have come. They are moved, and their uploads are over."""
        body = RegisterSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        dataset = body.save()
        return Response(
            body.data,
            status=status.HTTP_201_CREATED,
            headers={"Location": f"/api/datasets/{dataset.pk}"},
        )

    @extend_schema(request=RegisterModelSerializer, responses={201: BaseModelSerializer})
    @action(detail=False, methods=["post"], url_path="register-model")
    def register_model(self, request: Request) -> Response:
        """Make one model of files that have come. They are moved, and their uploads are over."""
        body = RegisterModelSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        model = body.save()
        return Response(
            body.data,
            status=status.HTTP_201_CREATED,
            headers={"Location": f"/api/base-models/{model.pk}"},
        )


def _headers(upload: Upload) -> dict[str, str]:
    return {
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.size_bytes),
        "Upload-Expires": http_date(upload.expires_at.timestamp()),
        "Cache-Control": "no-store",
    }


def _check_version(request: Request) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise WrongVersion


def _whole(request: Request, name: str) -> int:
    word = request.headers.get(name, "")
    if not (word.isascii() and word.isdigit() and int(word) <= LARGEST):
        raise exceptions.ValidationError({name: "A whole number of bytes is needed here."})
    return int(word)


def _metadata(header: str) -> dict[str, str]:
    found = {}
    for pair in filter(None, header.split(",")):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except ValueError as error:
            raise exceptions.ValidationError(
                {"Upload-Metadata": f"The value of '{name[:50]}' is not Base64 of UTF-8."}
            ) from error
    if "\x00" in "".join(found.values()):
        raise exceptions.ValidationError({"Upload-Metadata": "There is a NUL in it."})
    return found


def _checksum(request: Request) -> tuple[str, bytes] | None:
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return None
    algorithm, _, digest = header.partition(" ")
    if algorithm not in receiving.CHECKSUMS:
        known = " or ".join(receiving.CHECKSUMS)
        raise BadRequest(f"Upload-Checksum: {known}, not '{algorithm[:20]}'.")
    try:
        return algorithm, base64.b64decode(digest, validate=True)
    except binascii.Error as error:
        raise BadRequest("Upload-Checksum: the digest is not Base64.") from error


def _reading(request: Request) -> Callable[[int], bytes]:
    """The body, past REST framework's parsers and Django's limits for forms. A sender that goes
    away ends it with an error of its own."""

    def read(size: int) -> bytes:
        try:
            block: bytes = request._request.read(size)
        except (UnreadablePostError, DjangoBadRequest) as error:
            raise BadRequest("The client went away before it had sent everything.") from error
        return block

    return read
