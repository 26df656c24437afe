"""/api/generations: prompts to a model, and its answers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.serializers import ProjectField
from accounts.models import Project
from accounts.scoping import may_change
from api.errors import Conflict
from api.etags import Tagged
from api.fields import ShapedJSON, StrictSerializer
from api.views import UUIDLookup
from registry.models import Adapter, BaseModel
from training.api import filters, shapes
from training.api.plans import LARGEST, VisibleField
from training.models import Generation, Job, Partition
from training.playground import generations, targets
from training.trainer import orders

ROLES = ("system", "user", "assistant")
LONGEST_TEXT = 200_000
MOST_MESSAGES = 200
# Of what there must be exactly one.
TARGETS = ("job_id", "base_model_id", "adapter_id")


class SamplingSerializer(StrictSerializer):
    """Names and meanings of Transformers' GenerationConfig. A temperature of 0 always takes the
    likeliest token; a top_k of 0 takes all into account."""

    max_new_tokens = serializers.IntegerField(min_value=1, max_value=8192, required=False)
    temperature = serializers.FloatField(min_value=0, max_value=5, required=False)
    top_p = serializers.FloatField(min_value=0.01, max_value=1, required=False)
    top_k = serializers.IntegerField(min_value=0, max_value=100_000, required=False)
    repetition_penalty = serializers.FloatField(min_value=0.5, max_value=3, required=False)
    seed = serializers.IntegerField(
        min_value=0,
        max_value=LARGEST,
        required=False,
        help_text="The same one gives the same answer. Left out: one by chance, which is told.",
    )


class MessageSerializer(StrictSerializer):
    role = serializers.ChoiceField(choices=ROLES)
    content = serializers.CharField(
        max_length=LONGEST_TEXT, trim_whitespace=False, allow_blank=True
    )


class GenerationCreateSerializer(StrictSerializer):
    """One of ``job_id`` (what it has made), ``base_model_id`` and ``adapter_id``; and a ``prompt``
    as it is, or ``messages``, which the chat template puts together as it did in training."""

    job_id = VisibleField(Job, required=False, source="job")
    base_model_id = VisibleField(BaseModel, required=False, source="base_model")
    adapter_id = VisibleField(Adapter, required=False, source="adapter")
    compare = serializers.BooleanField(
        required=False, default=False, help_text="Ask the base model, too."
    )
    prompt = serializers.CharField(
        max_length=LONGEST_TEXT,
        required=False,
        trim_whitespace=False,
        allow_blank=True,
        default="",
    )
    messages = serializers.ListField(
        child=MessageSerializer(), required=False, max_length=MOST_MESSAGES
    )
    sampling = SamplingSerializer(required=False, default=dict)
    time_limit_s = serializers.IntegerField(
        min_value=1, required=False, help_text="For each answer, without the loading of the model."
    )
    gpus = serializers.IntegerField(
        min_value=0,
        max_value=1,
        required=False,
        help_text="Left out: a card where the partition has cards, otherwise the CPU.",
    )
    partition_id = VisibleField(Partition, required=False, allow_null=True, source="partition")
    project_id = ProjectField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        asked = [name for name in TARGETS if name.removesuffix("_id") in attrs]
        if len(asked) != 1:
            raise ValidationError({"job_id": f"Name one of {', '.join(TARGETS)}."})
        if bool(attrs["prompt"]) == bool(attrs.get("messages")):
            raise ValidationError({"prompt": "Give a prompt or messages, one of them."})
        if (messages := attrs.get("messages")) and messages[-1]["role"] != "user":
            raise ValidationError({"messages": "The last message must be the user's."})
        try:
            attrs["target"] = self._target(attrs)
        except targets.CannotTry as error:
            raise ValidationError({asked[0]: str(error)}) from error
        return attrs

    def _target(self, attrs: dict[str, Any]) -> targets.Target:
        user = self.context["request"].user
        if job := attrs.pop("job", None):
            return targets.of_job(job, user)
        if adapter := attrs.pop("adapter", None):
            return targets.of_adapter(adapter, user)
        return targets.of_model(attrs.pop("base_model"), user)


class AnswerSerializer(shapes.Shape):
    """What one model says; it grows until its ``state`` is done."""

    state = serializers.ChoiceField(choices=["loading", "writing", "done"], required=False)
    text = serializers.CharField(allow_blank=True)
    tokens = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField(required=False)
    seconds = serializers.FloatField(required=False)
    finish_reason = serializers.ChoiceField(choices=orders.FINISH_REASONS, required=False)


class AnswersSerializer(shapes.Shape):
    tuned = AnswerSerializer(required=False)
    base = AnswerSerializer(required=False)


class SamplingShape(shapes.Shape):
    max_new_tokens = serializers.IntegerField()
    temperature = serializers.FloatField()
    top_p = serializers.FloatField()
    top_k = serializers.IntegerField()
    repetition_penalty = serializers.FloatField()
    seed = serializers.IntegerField()


class GenerationSerializer(serializers.ModelSerializer[Generation]):
    """A prompt and its answers."""

    project_id = serializers.UUIDField(read_only=True, allow_null=True)
    user_id = serializers.UUIDField(source="created_by_id", read_only=True, allow_null=True)
    job_id = serializers.UUIDField(read_only=True, allow_null=True)
    base_model_id = serializers.UUIDField(read_only=True, allow_null=True)
    tuned_model_id = serializers.UUIDField(read_only=True, allow_null=True)
    adapter_id = serializers.UUIDField(read_only=True, allow_null=True)
    partition_id = serializers.UUIDField(read_only=True, allow_null=True)
    messages = ShapedJSON(MessageSerializer(many=True))
    sampling = ShapedJSON(SamplingShape)
    answers = ShapedJSON(AnswersSerializer)
    failure = ShapedJSON(shapes.FailureSerializer, allow_null=True)

    class Meta:
        model = Generation
        fields = [
            "id", "project_id", "user_id", "job_id", "base_model_id", "tuned_model_id",
            "adapter_id", "compare", "prompt", "messages", "sampling", "time_limit_s", "gpus",
            "partition_id", "status", "waiting_reason", "answers", "failure", "created_at",
            "started_at", "finished_at",
        ]  # fmt: skip
        read_only_fields = fields


EXAMPLE = OpenApiExample(
    "Base against tuned",
    {
        "job_id": "8a6b2b1c-9a55-4a0e-8f0e-0a4b3c2d1e0f",
        "compare": True,
        "messages": [{"role": "user", "content": "When is the fourth of July?"}],
        "sampling": {"max_new_tokens": 64, "temperature": 0},
    },
    request_only=True,
)


@extend_schema_view(
    create=extend_schema(
        request=GenerationCreateSerializer,
        responses={202: GenerationSerializer},
        examples=[EXAMPLE],
    )
)
class GenerationViewSet(UUIDLookup, mixins.ListModelMixin, Tagged, viewsets.GenericViewSet[Any]):
    serializer_class = GenerationSerializer
    filterset_class = filters.GenerationFilter
    plural = "generations"
    limit = 100

    def get_queryset(self) -> Any:
        return Generation.objects.visible_to(self.request.user)

    def create(self, request: Request) -> Response:
        """Put a prompt into the queue of the models. Poll the answer's `id`, or listen on
        `/ws/generations/:id`, until its `status` is COMPLETED, FAILED or CANCELLED."""
        body = GenerationCreateSerializer(data=request.data, context={"request": request})
        body.is_valid(raise_exception=True)
        asked = dict(body.validated_data)
        generation = ask(request, asked.pop("target"), asked)
        return Response(
            self.get_serializer(generation).data,
            status=status.HTTP_202_ACCEPTED,
            headers={"Location": f"{request.path}/{generation.pk}"},
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop it. What was written until then stays."""
        generation = self.get_object()
        if not may_change(request.user, generation.project_id):
            raise PermissionDenied
        try:
            return Response(self.get_serializer(generations.cancel(generation)).data)
        except generations.AlreadyOver as error:
            raise Conflict(str(error)) from error


def ask(request: Any, target: targets.Target, asked: dict[str, Any]) -> Generation:
    """For the API and the page alike: in the project that is named, or in that of what is tried.
    Raises REST framework's errors."""
    project = asked.pop("project", None) or target.what.project or Project.objects.default()
    if not may_change(request.user, project.pk):
        raise PermissionDenied
    sampling = asked.pop("sampling")
    seed = sampling.pop("seed", None)
    try:
        return generations.ask(
            target=target,
            actor=request.user,
            project=project,
            sampling=orders.Sampling(**sampling),
            seed=seed,
            **asked,
        )
    except generations.CannotAsk as error:
        raise ValidationError({error.field: str(error)}) from error
    except generations.TooMany as error:
        raise Conflict(str(error)) from error
