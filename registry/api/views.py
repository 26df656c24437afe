"""/api/base-models, /api/datasets, /api/adapters."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from django.http import HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import exceptions, mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import changes
from accounts.api.idempotency import RepeatableCreate
from accounts.scoping import may_change
from api.etags import IfMatch, Tagged
from api.parsers import JSONParser
from api.views import UUIDLookup, as_uuid
from registry import model_checks, services
from registry.api import examples
from registry.api.doctor import DoctorActions
from registry.api.filters import AdapterFilter, BaseModelFilter, DatasetFilter
from registry.api.serializers import (
    AdapterSerializer,
    BaseModelSerializer,
    DatasetSerializer,
    ModelCheckSerializer,
    ModelUploadSerializer,
    NewAdapterSerializer,
    UploadSerializer,
)
from registry.api.uploads import LengthRequired, LimitedUpload
from registry.models import Adapter, BaseModel, Dataset


class EntryViewSet(UUIDLookup, mixins.ListModelMixin, Tagged, viewsets.GenericViewSet[Any]):
    """Whoever may not see an entry gets 404, whoever may only look at it 403 for a change."""

    entries: Any

    def get_queryset(self) -> Any:
        return self.entries.objects.visible_to(self.request.user)

    def list_state(self) -> Hashable:
        return changes.state(self.entries._meta.db_table, *changes.RIGHTS)

    def get_object(self) -> Any:
        entry = super().get_object()
        writes = self.request.method not in SAFE_METHODS
        if writes and not may_change(self.request.user, entry.project_id):
            raise exceptions.PermissionDenied
        return entry


class ChangingViewSet(RepeatableCreate, IfMatch, EntryViewSet):
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def perform_destroy(self, instance: Any) -> None:
        services.delete(instance)


class TakesFiles(ChangingViewSet):
    """A form with files creates an entry, too."""

    parser_classes = [JSONParser, MultiPartParser]
    upload_serializer_class: Any

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # Before anybody reads the body: an upload goes to the disk, not into memory.
        request.upload_handlers = [LimitedUpload(request)]
        return super().initialize_request(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self._is_form() and not request.META.get("CONTENT_LENGTH"):
            raise LengthRequired

    def _is_form(self) -> bool:
        return (self.request.content_type or "").startswith("multipart/")

    def get_serializer_class(self) -> Any:
        is_upload = self.action == "create" and self._is_form()
        return self.upload_serializer_class if is_upload else self.serializer_class


@extend_schema_view(
    list=extend_schema(examples=examples.MODELS),
    create=extend_schema(
        request={
            "application/json": BaseModelSerializer,
            "multipart/form-data": ModelUploadSerializer,
        },
        responses={201: BaseModelSerializer},
    ),
)
class BaseModelViewSet(TakesFiles):
    entries = BaseModel
    serializer_class = BaseModelSerializer
    upload_serializer_class = ModelUploadSerializer
    filterset_class = BaseModelFilter
    plural = "models"
    plain_rows = True

    @extend_schema(request=None, responses={200: BaseModelSerializer, 202: BaseModelSerializer})
    @action(detail=True, methods=["post"])
    def check(self, request: Request, pk: str) -> Response:
        """Read all files again: a model whose files are missing or have changed becomes broken, and
        active when they are right again. ``metadata.inspection`` says what is wrong. More than 2
        GiB are read by a worker (202); GET says when it has ended. A check that comes to no result
        makes it broken too, and ``failed_check`` says why."""
        model = self.get_object()
        try:
            model_checks.check(model)
        except services.CannotRegister as error:
            raise exceptions.ValidationError({error.field: str(error)}) from error
        waits = model.check_heard_at is not None
        code = status.HTTP_202_ACCEPTED if waits else status.HTTP_200_OK
        return Response(self.get_serializer(model).data, status=code)

    @extend_schema(responses=ModelCheckSerializer)
    @check.mapping.get
    def check_state(self, request: Request, pk: str) -> Response:
        """What the last check of its files has found, and whether a worker is at another one."""
        return Response(ModelCheckSerializer(self.get_object()).data)


COMPATIBLE_WITH = OpenApiParameter(
    "compatible_with_model",
    OpenApiTypes.UUID,
    description="Says of each dataset whether it suits this base model (``compatibility``).",
)


@extend_schema_view(
    list=extend_schema(examples=examples.DATASETS),
    create=extend_schema(
        request={"application/json": DatasetSerializer, "multipart/form-data": UploadSerializer},
        responses={201: DatasetSerializer},
    ),
)
class DatasetViewSet(DoctorActions, TakesFiles):
    entries = Dataset
    serializer_class = DatasetSerializer
    upload_serializer_class = UploadSerializer
    filterset_class = DatasetFilter
    takes = (COMPATIBLE_WITH,)
    passing = ("compatibility",)
    plural = "datasets"

    @property
    def plain_rows(self) -> bool:
        """What suits a model is worked out for each dataset."""
        return self.action == "list" and "compatible_with_model" not in self.request.query_params

    def list_state(self) -> Hashable:
        return super().list_state() if self.action == "list" else None

    def get_serializer_context(self) -> dict[str, Any]:
        context = dict(super().get_serializer_context())
        wanted = self.request.query_params.get("compatible_with_model")
        return {**context, "model": self._model(wanted)} if wanted else context

    def _model(self, wanted: str) -> BaseModel:
        """The model that every listed dataset is compared with. Raises ValidationError."""
        try:
            visible = BaseModel.objects.visible_to(self.request.user)
            model: BaseModel = visible.get(pk=as_uuid(wanted))
            return model
        except exceptions.ValidationError:
            problem = f"'{wanted}' is not a UUID."
        except BaseModel.DoesNotExist:
            problem = f"There is no base model {wanted}."
        raise exceptions.ValidationError({"compatible_with_model": problem})


@extend_schema_view(
    create=extend_schema(request=NewAdapterSerializer, responses={201: AdapterSerializer})
)
class AdapterViewSet(ChangingViewSet):
    entries = Adapter
    serializer_class = AdapterSerializer
    filterset_class = AdapterFilter
    plural = "adapters"
    plain_rows = True

    def get_serializer_class(self) -> Any:
        return NewAdapterSerializer if self.action == "create" else AdapterSerializer
