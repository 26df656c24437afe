"""What the dataset doctor does: check, tasks, repair, versions, difference and download below
/api/datasets/:id."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from api.download_schema import RANGE, RANGED
from api.errors import Conflict
from api.fields import StrictSerializer
from api.views import as_uuid
from registry import checks, copies, downloads, services, versions
from registry.api.filters import DatasetTaskFilter, DatasetVersionFilter
from registry.api.serializers import DatasetSerializer
from registry.doctor import FIELDS
from registry.models import Dataset, DatasetTask

WITH = OpenApiParameter(
    "with",
    OpenApiTypes.UUID,
    description="The other version. Not given: the one before this.",
)


class DatasetColumnsSerializer(StrictSerializer):
    """The column of the files that each field of a row stands in."""

    def get_fields(self) -> dict[str, Any]:
        return {name: serializers.CharField(max_length=300, required=False) for name in FIELDS}


class CheckSerializer(StrictSerializer):
    columns = DatasetColumnsSerializer(
        required=False,
        help_text="Read the rows under these columns from now on. Not given: those that it has; "
        "an empty object: find them anew.",
    )


class RepairSerializer(StrictSerializer):
    """What the copy is to be, and what is done on the way. Rows that cannot be used are left out
    where they cannot be mended."""

    name = serializers.CharField(max_length=200, required=False)
    version = serializers.CharField(
        max_length=40, required=False, help_text="Not given: the next number."
    )
    drop_duplicates = serializers.BooleanField(default=True)
    drop_near_duplicates = serializers.BooleanField(default=False)
    drop_leaked = serializers.BooleanField(
        default=True, help_text="Leave out rows to train on that are also held out."
    )
    mend_text = serializers.BooleanField(
        default=True, help_text="Encoding, NUL bytes, byte order marks, names of speakers."
    )
    redact_personal = serializers.BooleanField(
        default=False, help_text="A word for each e-mail address, key and card number."
    )
    validation_share = serializers.FloatField(
        default=0.0,
        min_value=0,
        max_value=0.5,
        help_text="Where there is only a train split, hold out so many of its rows. Rows with the "
        "same prompt, or nearly the same text, stay together; of images each class has its share.",
    )
    seed = serializers.IntegerField(default=0, min_value=0, max_value=2**31 - 1)


class DatasetTaskSerializer(serializers.ModelSerializer[DatasetTask]):
    dataset_id = serializers.UUIDField(read_only=True)
    result_id = serializers.UUIDField(read_only=True, allow_null=True)
    options = serializers.DictField(read_only=True)
    percent = serializers.IntegerField(read_only=True)

    class Meta:
        model = DatasetTask
        fields = [
            *("id", "dataset_id", "kind", "status", "step", "options", "rows"),
            *("read_bytes", "size_bytes"),
            *("percent", "message", "result_id", "created_at", "finished_at"),
        ]
        read_only_fields = fields


class SampleRowSerializer(serializers.Serializer[Any]):
    where = serializers.CharField()
    row = serializers.DictField()


class DifferenceSerializer(serializers.Serializer[Any]):
    """``against`` is null where there is no other version, the numbers null where the rows of one
    of them are not known."""

    against = serializers.UUIDField(allow_null=True)
    added = serializers.IntegerField(allow_null=True)
    removed = serializers.IntegerField(allow_null=True)
    changed = serializers.IntegerField(allow_null=True)
    same = serializers.IntegerField(allow_null=True)
    added_rows = SampleRowSerializer(many=True)
    removed_rows = SampleRowSerializer(many=True)


class DoctorActions:
    """Part of the viewset of datasets."""

    limit: int | None = None
    request: Any
    get_object: Any
    get_serializer: Any
    filter_queryset: Any
    paginate_queryset: Any
    get_paginated_response: Any

    @extend_schema(
        request=CheckSerializer, responses={200: DatasetSerializer, 202: DatasetSerializer}
    )
    @action(detail=True, methods=["post"])
    def check(self, request: Request, pk: str) -> Response:
        """Look at the files again. A large dataset is checked by a worker (202), and is not
        ``integrity_checked`` until then."""
        dataset = self.get_object()
        asked = CheckSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            services.check_dataset(
                dataset, user=request.user, columns=asked.validated_data.get("columns")
            )
        except services.CannotRegister as error:
            raise exceptions.ValidationError({error.field: str(error)}) from error
        waits = bool(checks.open_checks([dataset]))
        code = status.HTTP_202_ACCEPTED if waits else status.HTTP_200_OK
        return Response(self.get_serializer(dataset).data, status=code)

    @extend_schema(responses=DatasetTaskSerializer(many=True))
    @action(detail=True, plural="tasks", limit=50, filterset_class=DatasetTaskFilter)
    def tasks(self, request: Request, pk: str) -> Any:
        """What the doctor was asked to do with it, the newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_object().tasks.all()))
        return self.get_paginated_response(DatasetTaskSerializer(page, many=True).data)

    @extend_schema(request=RepairSerializer, responses={202: DatasetTaskSerializer})
    @action(detail=True, methods=["post"])
    def repair(self, request: Request, pk: str) -> Response:
        """Have a repaired copy made, which becomes another version of the dataset."""
        dataset = self.get_object()
        asked = RepairSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            task = copies.request(dataset, user=request.user, **asked.validated_data)
        except copies.CannotCopy as error:
            raise exceptions.ValidationError({"dataset": str(error)}) from error
        return Response(DatasetTaskSerializer(task).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses=DatasetSerializer(many=True))
    @action(detail=True, plural="datasets", limit=50, filterset_class=DatasetVersionFilter)
    def versions(self, request: Request, pk: str) -> Any:
        """Those of the same name in the same project, itself among them; the newest first."""
        page = self.paginate_queryset(self.filter_queryset(versions.of(self.get_object())))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(responses=DifferenceSerializer)
    @action(detail=True, takes=(WITH,))
    def difference(self, request: Request, pk: str) -> Response:
        """What this version has that the other has not, and the other way round."""
        dataset = self.get_object()
        other = self._other(dataset)
        found = versions.difference(other, dataset) if other else None
        rows = found.rows() if found else {"added_rows": [], "removed_rows": []}
        counts = dict.fromkeys(("added", "removed", "changed", "same"))
        if found is not None and found.counts is not None:
            counts = {name: asdict(found.counts)[name] for name in counts}
        return Response({"against": str(other.pk) if other else None, **counts, **rows})

    def _other(self, dataset: Dataset) -> Dataset | None:
        wanted = self.request.query_params.get("with")
        if not wanted:
            return versions.before(dataset)
        try:
            visible = Dataset.objects.visible_to(self.request.user)
            found: Dataset | None = visible.filter(pk=as_uuid(wanted)).first()
        except exceptions.ValidationError:
            raise exceptions.ValidationError({"with": f"'{wanted}' is not a UUID."}) from None
        if found is None:
            raise exceptions.ValidationError({"with": f"There is no dataset {wanted}."})
        return found

    @extend_schema(responses=RANGED, parameters=[RANGE])
    @action(detail=True)
    def download(self, request: Request, pk: str) -> Any:
        """The files as they lie: one as it is, or a range of it, several in a zip archive."""
        try:
            return downloads.answer(request, self.get_object())
        except downloads.NoFiles as error:
            raise Conflict(str(error)) from error
