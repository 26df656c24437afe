"""/api/code-reviews: code that models bring along. Everybody sees what is approved."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from api.filters import FilterSet, Ordering
from api.views import UUIDLookup
from registry import code_reviews
from registry.models import CodeReview


class CodeReviewSerializer(serializers.ModelSerializer[CodeReview]):
    files = serializers.DictField(
        child=serializers.CharField(), read_only=True, help_text="Name and SHA-256 of each."
    )
    approved = serializers.BooleanField(source="is_approved", read_only=True)
    approved_by = serializers.CharField(
        source="approved_by.username", default=None, read_only=True, allow_null=True
    )

    class Meta:
        model = CodeReview
        fields = [
            "id",
            "sha256",
            "files",
            "found_in",
            "approved",
            "approved_by",
            "approved_at",
            "created_at",
        ]
        read_only_fields = fields

    def to_representation(self, instance: CodeReview) -> dict[str, Any]:
        """A folder may be another project's: its name is for those who look into it."""
        shown = super().to_representation(instance)
        if not self.context["request"].user.is_staff:
            shown["found_in"] = ""
        return shown


class CodeReviewFilter(FilterSet):
    ordering = Ordering("created_at", "approved_at")

    class Meta:
        model = CodeReview
        fields = ["sha256"]


class CodeReviewViewSet(
    UUIDLookup, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Any]
):
    queryset = CodeReview.objects.select_related("approved_by")
    serializer_class = CodeReviewSerializer
    filterset_class = CodeReviewFilter
    plural = "code_reviews"

    def _reviewed(self) -> CodeReview:
        review: CodeReview = self.get_object()
        if not self.request.user.is_staff:
            raise exceptions.PermissionDenied("Only staff approves code.")
        return review

    @extend_schema(request=None, responses=CodeReviewSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Let these very files run, in any model that brings them along."""
        review = code_reviews.approve(self._reviewed(), actor=request.user)
        return Response(self.get_serializer(review).data)

    @extend_schema(request=None, responses=CodeReviewSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Let them run no more; a run that has begun goes on."""
        review = code_reviews.withdraw(self._reviewed())
        return Response(self.get_serializer(review).data)
