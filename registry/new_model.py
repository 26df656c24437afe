"""/models/new: a model that lies on the platform's disk, or one of which only numbers are known, is
registered, by the API's own serializer."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods
from rest_framework.exceptions import ValidationError

from accounts.scoping import writable_by
from api.errors import flatten
from registry.api.serializers import BaseModelSerializer
from registry.models import BaseModel, Modality

ABOUT = ("name", "storage_path", "family", "description", "project_id")
# What the files say where there are some.
NUMBERS = (
    *("params_b", "dtype", "hidden_size", "num_layers", "vocab_size", "context_length"),
    *("architecture", "modality"),
)


class NewModel(forms.Form):
    """No field is checked here: the serializer's sentences are to stand beside them."""

    name = forms.CharField(required=False)
    storage_path = forms.CharField(required=False, label="Folder or file")
    family = forms.CharField(required=False, help_text="Such as llama. Empty: as config.json says.")
    description = forms.CharField(required=False)
    project_id = forms.CharField(required=False, label="Project")
    params_b = forms.CharField(required=False, label="Parameters, in billions")
    dtype = forms.CharField(required=False, label="Type of its numbers", help_text="bfloat16, say.")
    hidden_size = forms.CharField(required=False, label="Hidden size")
    num_layers = forms.CharField(required=False, label="Layers")
    vocab_size = forms.CharField(required=False, label="Vocabulary", help_text="Tokens.")
    context_length = forms.CharField(required=False, label="Context length", help_text="Tokens.")
    architecture = forms.CharField(required=False, help_text="LlamaForCausalLM, say.")
    modality = forms.ChoiceField(choices=Modality.choices, required=False)
    config = forms.CharField(
        required=False,
        label="config.json",
        help_text="All of it. The numbers above then follow from it.",
    )

    def save(self, request: HttpRequest) -> BaseModel | None:
        """The model; None where something was refused, which then stands beside its field."""
        body = self._body() if self.is_valid() else {}
        if self.errors:
            return None
        serializer = BaseModelSerializer(data=body, context={"request": request})
        try:
            serializer.is_valid(raise_exception=True)
            model: BaseModel = serializer.save()
            return model
        except ValidationError as error:
            for path, text in flatten(error.detail).items():
                name = "config" if path.startswith("metadata") else path
                self.add_error(name if name in self.fields else None, text)
        return None

    def _body(self) -> dict[str, Any]:
        """As it would be sent to the API: what is left empty is not sent."""
        said = {name: value for name, value in self.cleaned_data.items() if value}
        config = said.pop("config", None)
        if config:
            try:
                said["metadata"] = {"config": json.loads(config)}
            except ValueError as error:
                self.add_error("config", f"This is not JSON: {error}")
        return said

    @property
    def about(self) -> list[forms.BoundField]:
        return [self[name] for name in ABOUT if name not in ("description", "project_id")]

    @property
    def numbers(self) -> list[forms.BoundField]:
        return [self[name] for name in NUMBERS if name != "modality"]

    @property
    def unfolds(self) -> bool:
        """Is something said, or wrong, in what is folded away at first?"""
        folded = ("config", *NUMBERS)
        return any(
            self[name].errors or self.data.get(name) for name in folded if name != "modality"
        )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_model(request: HttpRequest) -> HttpResponse:
    projects = list(writable_by(request.user))
    if not projects:
        raise PermissionDenied
    form = NewModel(request.POST) if request.method == "POST" else NewModel()
    if form.is_bound and (model := form.save(request)):
        messages.success(request, f"{model} is registered.")
        return redirect("model", model.pk)
    context = {
        "form": form,
        "projects": projects if len(projects) > 1 else [],
        "home": settings.TRAINYARD_MODELS,
    }
    status = 422 if form.is_bound else 200
    return render(request, "registry/model_new.html", context, status=status)
