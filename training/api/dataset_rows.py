"""/api/datasets/:id/preview and /api/datasets/:id/lengths: a dataset in the tokens of a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from api.pagination import LARGEST, whole_number
from api.views import UUIDLookup, as_uuid
from registry.doctor import SPLITS
from registry.models import BaseModel, Dataset
from training import dataset_rows

MOST_ROWS = 100
MODEL = OpenApiParameter(
    "model", OpenApiTypes.UUID, description="The base model whose tokenizer and template to use."
)
_NUMBER = {"type": "integer", "minimum": 0, "maximum": LARGEST}
ROWS = (
    OpenApiParameter("split", str, enum=SPLITS, default="train"),
    OpenApiParameter("first", {**_NUMBER, "default": 0}, description="Rows to skip."),
    OpenApiParameter("count", {**_NUMBER, "default": 5}, description=f"At most {MOST_ROWS}."),
    OpenApiParameter("max_length", _NUMBER, description="Tokens beyond it are marked as cut."),
)


class PieceSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    how = serializers.ChoiceField(
        choices=("learned", "read", "cut"), help_text="learned carries loss; cut is left out."
    )


class PreviewRowSerializer(serializers.Serializer[Any]):
    """One row; of a pair each answer (``part``) with the prompt."""

    where = serializers.CharField()
    kind = serializers.CharField()
    part = serializers.CharField()
    tokens = serializers.IntegerField()
    learned = serializers.IntegerField(help_text="Tokens that carry loss.")
    pieces = PieceSerializer(many=True)
    shortened = serializers.BooleanField(help_text="Only the beginning is shown.")
    problem = serializers.CharField()


class PreviewSerializer(serializers.Serializer[Any]):
    model_id = serializers.UUIDField(allow_null=True)
    rows = PreviewRowSerializer(many=True)
    problem = serializers.CharField(help_text="Why there are no further rows.")


class LimitSerializer(serializers.Serializer[Any]):
    """Shares from 0 to 1."""

    max_length = serializers.IntegerField()
    truncated = serializers.FloatField(help_text="Of the rows.")
    tokens_lost = serializers.FloatField(help_text="Of all tokens.")
    nothing_to_learn = serializers.FloatField(
        help_text="Of the rows: their prompt alone fills max_length."
    )


class LengthsSerializer(serializers.Serializer[Any]):
    """``basis``: all rows "counted" with the model's own tokenizer, or a part of them "sampled", or
    "guessed" from the characters; null where nobody can say."""

    model_id = serializers.UUIDField(allow_null=True)
    basis = serializers.CharField(allow_null=True)
    rows = serializers.IntegerField()
    mean = serializers.FloatField(allow_null=True)
    longest = serializers.IntegerField(allow_null=True)
    lengths = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()), help_text="[tokens, rows]"
    )
    limits = LimitSerializer(many=True)


class DatasetRowsViewSet(UUIDLookup, viewsets.GenericViewSet[Any]):
    serializer_class = PreviewSerializer
    pagination_class = None
    filterset_class = None

    def get_queryset(self) -> Any:
        return Dataset.objects.visible_to(self.request.user)

    @extend_schema(responses=PreviewSerializer)
    @action(detail=True, takes=(MODEL, *ROWS))
    def preview(self, request: Request, pk: str) -> Response:
        """Some rows as the model sees them, with the tokens that carry loss marked. Without a
        model, their fields as they are read."""
        dataset, model = self.get_object(), self._model()
        split = request.query_params.get("split", "train")
        if split not in SPLITS:
            problem = f"'{split}' is not one of {', '.join(SPLITS)}."
            raise exceptions.ValidationError({"split": problem})
        shown = dataset_rows.preview(
            dataset,
            model,
            split=split,
            first=whole_number(request, "first", 0) or 0,
            count=min(whole_number(request, "count", 5) or 0, MOST_ROWS),
            max_length=whole_number(request, "max_length", None),
        )
        for row in shown["rows"]:
            row["pieces"] = [{"text": text, "how": how} for text, how in row["pieces"]]
        return Response({"model_id": str(model.pk) if model else None, **shown})

    @extend_schema(responses=LengthsSerializer)
    @action(detail=True, takes=(MODEL,))
    def lengths(self, request: Request, pk: str) -> Response:
        """How long the rows to train on are in tokens, and what is cut at each max_length."""
        dataset, model = self.get_object(), self._model()
        found = dataset_rows.lengths(dataset, model) if model else None
        if found is None or model is None:
            nothing: dict[str, Any] = {"basis": None, "rows": 0, "mean": None, "longest": None}
            model_id = str(model.pk) if model else None
            return Response({"model_id": model_id, **nothing, "lengths": [], "limits": []})
        return Response(
            {
                "model_id": str(model.pk),
                "basis": found.basis,
                "rows": found.rows,
                "mean": round(found.mean, 1),
                "longest": found.longest,
                "lengths": [list(one) for one in found.counts],
                "limits": [asdict(one) for one in dataset_rows.limits(found, model)],
            }
        )

    def _model(self) -> BaseModel | None:
        wanted = self.request.query_params.get("model")
        if not wanted:
            return None
        try:
            found = BaseModel.objects.visible_to(self.request.user).filter(pk=as_uuid(wanted))
        except exceptions.ValidationError:
            raise exceptions.ValidationError({"model": f"'{wanted}' is not a UUID."}) from None
        model: BaseModel | None = found.first()
        if model is None:
            raise exceptions.ValidationError({"model": f"There is no base model {wanted}."})
        return model
