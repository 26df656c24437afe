"""The forms of the transfer pages. What they ask for goes through the API's own checks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from accounts import lists
from api.errors import flatten
from registry.api.transfers import TransferSerializer, checked_address
from registry.hub.models import Kind, Status, Transfer

IMPORTS = [
    (Kind.HF_MODEL.value, "A model of the hub"),
    (Kind.HF_DATASET.value, "A dataset of the hub"),
    (Kind.URL_DATASET.value, "A file of rows from a web address"),
    (Kind.URL_MODEL.value, "A GGUF model from a web address"),
    (Kind.S3_DATASET.value, "A dataset of a bucket (S3)"),
    (Kind.S3_MODEL.value, "A model of a bucket (S3)"),
]
WEB = (Kind.URL_DATASET.value, Kind.URL_MODEL.value)
BUCKETS = (Kind.S3_DATASET.value, Kind.S3_MODEL.value)


class TransfersAsked(lists.Asked):
    orders = {
        "newest": ("-created_at", "-id"),
        "oldest": ("created_at", "id"),
        "name": ("name", "-created_at", "-id"),
    }
    selects = ("kind",)

    status = forms.ChoiceField(choices=[("", "All"), *Status.choices], required=False)
    kind = forms.ChoiceField(choices=[("", "Any"), *Kind.choices], required=False)


class NewTransfer(forms.Form):
    kind = forms.ChoiceField(choices=[*IMPORTS, (Kind.HF_UPLOAD.value, "To the hub")])
    hf_repo_id = forms.CharField(max_length=2000, label="Repository, or address")
    hf_revision = forms.CharField(max_length=100, label="Revision", required=False)
    endpoint_url = forms.CharField(max_length=400, label="Server of the bucket", required=False)
    region = forms.CharField(max_length=40, label="Region", required=False)
    name = forms.CharField(max_length=200, label="Name here", required=False)
    allow_patterns = forms.CharField(max_length=2000, label="Only these files", required=False)
    ignore_patterns = forms.CharField(max_length=2000, label="Not these files", required=False)
    bandwidth_mb = forms.IntegerField(
        min_value=1, max_value=2000, label="At most, in MB a second", required=False
    )
    project_id = forms.UUIDField(required=False, label="Project")
    model_id = forms.UUIDField(required=False)
    exports = forms.CharField(max_length=400, required=False, label="Other exports with it")
    private = forms.BooleanField(required=False, label="Private, if the repository is new")

    def checked(self, request: HttpRequest) -> TransferSerializer | None:
        """The API's serializer with what was entered, if it is valid; else with errors here."""
        if not self.is_valid():
            return None
        api_request: Any = Request(request)
        api_request._user = request.user
        serializer = TransferSerializer(data=self.body(), context={"request": api_request})
        try:
            serializer.is_valid(raise_exception=True)
        except ValidationError as error:
            for field, text in flatten(error.detail).items():
                name = field.partition("[")[0]
                name = "hf_repo_id" if name == "url" else name
                self.add_error(name if name in self.fields else None, text)
            return None
        return serializer

    def body(self) -> dict[str, Any]:
        """As it would be sent to the API."""
        said = self.cleaned_data
        place = "url" if said["kind"] in (*WEB, *BUCKETS) else "hf_repo_id"
        body: dict[str, Any] = {
            "kind": said["kind"],
            place: said["hf_repo_id"].strip(),
            "allow_patterns": _words(said["allow_patterns"]),
            "ignore_patterns": _words(said["ignore_patterns"]),
        }
        for name in ("hf_revision", "name", "endpoint_url", "region"):
            if said[name]:
                body[name] = said[name]
        if said["bandwidth_mb"]:
            body["bandwidth_limit"] = said["bandwidth_mb"] * 1_000_000
        if said["project_id"]:
            body["project_id"] = str(said["project_id"])
        if said["kind"] == Kind.HF_UPLOAD:
            body |= {"private": said["private"], "exports": _words(said["exports"])}
            body["model_id"] = str(said["model_id"]) if said["model_id"] else None
        return body

    def transfer(self, serializer: TransferSerializer) -> Transfer:
        """Not saved: to ask the hub about."""
        values = dict(serializer.validated_data)
        return Transfer(**values)


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


class Token(forms.Form):
    project_id = forms.UUIDField()
    token = forms.RegexField(
        r"^[!-~]{8,400}$",
        strip=True,
        error_messages={"invalid": "A hub token is one word, such as hf_…"},
    )


class NewBucketKey(forms.Form):
    project_id = forms.UUIDField()
    endpoint_url = forms.CharField(max_length=400, required=False, label="Server")
    access_key_id = forms.RegexField(
        r"^[!-~]{1,200}$",
        label="Access key",
        error_messages={"invalid": "An access key is one word."},
    )
    secret_access_key = forms.RegexField(
        r"^[!-~]{8,400}$",
        label="Secret key",
        error_messages={"invalid": "A secret key is one word of at least 8 characters."},
    )

    def clean_endpoint_url(self) -> str:
        try:
            return checked_address(self.cleaned_data["endpoint_url"].rstrip("/"))
        except ValidationError as error:
            raise forms.ValidationError(str(error.detail[0])) from error  # type: ignore[index]
