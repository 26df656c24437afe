from __future__ import annotations

from pathlib import Path
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from accounts.api.serializers import ProjectField
from accounts.models import Project
from accounts.scoping import may_change
from api.pagination import LARGEST
from api.plain import is_plain, plain_text
from api.rows import RowsSerializer
from registry import services, storage
from registry.compatibility import Compatibility, compatibility
from registry.models import Adapter, BaseModel, Dataset
from registry.uploads.model_registration import register_model
from registry.uploads.registration import Received

# A registered path is where the files are; other files are another entry.
NEVER_CHANGED = ("storage_path", "tokenizer_path")


class TagsField(serializers.ListField):
    child = serializers.CharField(max_length=60)


class MetadataField(serializers.DictField):
    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not is_plain(value):
            raise serializers.ValidationError(
                "NUL, lone surrogates, infinite numbers and more than 100 levels are not allowed."
            )
        return value


class EntrySerializer(serializers.ModelSerializer[Any]):
    """What every entry has: a project, tags, metadata, and facts that follow from its files."""

    project_id = ProjectField()
    tags = TagsField(required=False, max_length=50)
    metadata = MetadataField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is None:
            attrs.setdefault("project", Project.objects.default())
        else:
            self._refuse_changed_facts()
        if "project" in attrs:
            project = attrs["project"]
            if not may_change(self.context["request"].user, project.pk if project else None):
                raise PermissionDenied
        return attrs

    def facts(self) -> tuple[str, ...]:
        """The fields that nobody may change by hand."""
        return (*NEVER_CHANGED, *(self.Meta.read_only_fields or ()))

    def _refuse_changed_facts(self) -> None:
        """A client may send back what it was given, but not something else."""
        shown = self.to_representation(self.instance)
        facts = self.facts()
        changed = [
            name
            for name, value in self.initial_data.items()
            if name in facts and name in shown and value != shown[name]
        ]
        if changed:
            raise serializers.ValidationError(
                dict.fromkeys(changed, "This follows from the files and is not changed by hand.")
            )

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        return _registered(services.edit, entry=instance, changes=validated_data)


class BaseModelSerializer(EntrySerializer):
    class Meta:
        model = BaseModel
        list_serializer_class = RowsSerializer
        fields = [
            "id",
            "project_id",
            "name",
            "family",
            "description",
            "params_b",
            "dtype",
            "context_length",
            "hidden_size",
            "num_layers",
            "architecture",
            "modality",
            "trainable",
            "servable",
            "quantized",
            "is_gguf",
            "stage",
            "status",
            "storage_path",
            "size_bytes",
            "checksum",
            "hf_repo_id",
            "hf_revision",
            "tokenizer_path",
            "vocab_size",
            "tags",
            "metadata",
            "model_card",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["id", "status", "checksum", "created_at", "updated_at"]
        extra_kwargs = {
            "params_b": {"min_value": 0, "max_value": 1_000_000},
            "size_bytes": {"min_value": 0},
            # What PostgreSQL can hold; SQLite would take more.
            **{
                name: {"min_value": 0, "max_value": LARGEST}
                for name in ("context_length", "hidden_size", "num_layers", "vocab_size")
            },
        }

    def facts(self) -> tuple[str, ...]:
        """Without files the numbers are what somebody said, and may be said better."""
        if isinstance(self.instance, BaseModel) and not self.instance.storage_path:
            return super().facts()
        return (
            *super().facts(),
            "params_b",
            "dtype",
            "context_length",
            "hidden_size",
            "num_layers",
            "vocab_size",
            "architecture",
            "modality",
            "quantized",
            "is_gguf",
            "size_bytes",
        )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        is_gguf = isinstance(self.instance, BaseModel) and self.instance.is_gguf
        if is_gguf and attrs.get("trainable"):
            raise serializers.ValidationError({"trainable": "A GGUF model cannot be trained."})
        return super().validate(attrs)

    def validate_tokenizer_path(self, path: str) -> str:
        try:
            return str(storage.resolve(path)) if path else ""
        except storage.BadPath as error:
            raise serializers.ValidationError(str(error)) from error

    def create(self, validated_data: dict[str, Any]) -> Any:
        user = self.context["request"].user
        return _registered(services.register_model, user=user, **validated_data)


class ModelUploadSerializer(EntrySerializer):
    """The parts of a multipart upload: all files of a model, or one archive of its folder."""

    file = serializers.ListField(
        child=serializers.FileField(allow_empty_file=True), allow_empty=False
    )

    class Meta:
        model = BaseModel
        fields = ["file", "name", "family", "description", "project_id"]

    def create(self, validated_data: dict[str, Any]) -> Any:
        files = [Received.of_form(file) for file in validated_data.pop("file")]
        user = self.context["request"].user
        try:
            return register_model(user=user, files=files, **validated_data)
        except services.CannotRegister as error:
            field = "file" if error.field == "files" else error.field
            raise serializers.ValidationError({field: str(error)}) from error

    def to_representation(self, instance: BaseModel) -> dict[str, Any]:
        return BaseModelSerializer(instance, context=self.context).data


class FindingSerializer(serializers.Serializer[dict[str, str]]):
    """What reading a model's files has found (`inspect.Finding`)."""

    code = serializers.CharField()
    level = serializers.CharField()
    message = serializers.CharField()
    fix = serializers.CharField()
    file = serializers.CharField()


class ModelCheckSerializer(serializers.ModelSerializer[BaseModel]):
    """``check_heard_at`` is null where no worker is asked to read the files, ``failed_check`` where
    the last check came to a result."""

    file_problems = serializers.ListField(child=serializers.CharField(), read_only=True)
    failed_check = FindingSerializer(read_only=True, allow_null=True)

    class Meta:
        model = BaseModel
        fields = ["status", "file_problems", "failed_check", "verified_at", "check_heard_at"]
        read_only_fields = fields


class DatasetSerializer(EntrySerializer):
    """With ``model`` in its context, each dataset also says whether it suits that model."""

    integrity_report = serializers.DictField(read_only=True)
    statistics = serializers.DictField(read_only=True)
    compatibility = serializers.SerializerMethodField()

    class Meta:
        model = Dataset
        list_serializer_class = RowsSerializer
        fields = [
            "id",
            "project_id",
            "name",
            "version",
            "description",
            "modality",
            "size_bytes",
            "num_samples",
            "manifest_path",
            "storage_path",
            "checksum",
            "integrity_checked",
            "integrity_passed",
            "integrity_report",
            "statistics",
            "tags",
            "metadata",
            "created_at",
            "updated_at",
            "compatibility",
        ]
        read_only_fields = [
            "id",
            "size_bytes",
            "num_samples",
            "manifest_path",
            "checksum",
            "integrity_checked",
            "integrity_passed",
            "integrity_report",
            "statistics",
            "created_at",
            "updated_at",
        ]
        sometimes = ["compatibility"]
        extra_kwargs = {"storage_path": {"required": True, "allow_blank": False}}

    def get_compatibility(self, dataset: Dataset) -> Compatibility | None:
        model = self.context.get("model")
        return compatibility(dataset, model) if model else None

    def to_representation(self, instance: Dataset) -> dict[str, Any]:
        shown = super().to_representation(instance)
        if shown["compatibility"] is None:
            del shown["compatibility"]
        return shown

    def create(self, validated_data: dict[str, Any]) -> Any:
        user = self.context["request"].user
        return _registered(services.register_dataset, user=user, **validated_data)


class UploadSerializer(EntrySerializer):
    """The parts of a multipart upload."""

    file = serializers.FileField(allow_empty_file=True)

    class Meta:
        model = Dataset
        fields = ["file", "name", "version", "description", "modality", "project_id"]

    def create(self, validated_data: dict[str, Any]) -> Any:
        upload = validated_data.pop("file")
        return _registered(
            services.receive_upload,
            user=self.context["request"].user,
            temporary=Path(upload.temporary_file_path()),
            file_name=plain_text(upload.name),
            sha256=upload.sha256,
            **validated_data,
        )

    def to_representation(self, instance: Dataset) -> dict[str, Any]:
        return DatasetSerializer(instance, context=self.context).data


class AdapterSerializer(EntrySerializer):
    base_model_id = serializers.UUIDField(read_only=True)

    class Meta:
        model = Adapter
        list_serializer_class = RowsSerializer
        fields = [
            "id",
            "project_id",
            "base_model_id",
            "name",
            "description",
            "method",
            "r",
            "lora_alpha",
            "target_modules",
            "storage_path",
            "size_bytes",
            "checksum",
            "tags",
            "metadata",
            "model_card",
            "created_at",
            "updated_at",
        ]
        read_only_fields = [
            name for name in fields if name not in ("name", "description", "tags", "metadata")
        ]


class BaseModelField(serializers.PrimaryKeyRelatedField[BaseModel]):
    """``base_model_id`` in a body: a model that the asker can see."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("source", "base_model")
        kwargs.setdefault("pk_field", serializers.UUIDField())
        kwargs.setdefault("error_messages", {"does_not_exist": "There is no such base model."})
        super().__init__(queryset=BaseModel.objects.all(), **kwargs)

    def get_queryset(self) -> Any:
        return BaseModel.objects.visible_to(self.context["request"].user)


class NewAdapterSerializer(EntrySerializer):
    """A folder as PEFT writes it, and the base model that it is for."""

    base_model_id = BaseModelField()

    class Meta:
        model = Adapter
        fields = [
            *("name", "description", "base_model_id", "storage_path"),
            *("tags", "metadata", "project_id"),
        ]
        extra_kwargs = {"storage_path": {"required": True, "allow_blank": False}}

    def create(self, validated_data: dict[str, Any]) -> Any:
        user = self.context["request"].user
        return _registered(services.register_adapter, user=user, **validated_data)

    def to_representation(self, instance: Adapter) -> dict[str, Any]:
        return AdapterSerializer(instance, context=self.context).data


def _registered(verb: Any, **arguments: Any) -> Any:
    """Call a service; what it refuses is a 400 that names the field."""
    try:
        return verb(**arguments)
    except services.CannotRegister as error:
        raise serializers.ValidationError({error.field: str(error)}) from error
