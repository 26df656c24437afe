"""/datasets/new: files become a dataset. Scripts send them in parts; without scripts they come with
the form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST
from rest_framework.exceptions import APIException

from accounts.models import Project
from accounts.scoping import may_change, writable_by
from registry import archives
from registry.api.uploads import LimitedUpload
from registry.doctor import SPLITS
from registry.models import Dataset, Modality, Upload
from registry.services import CannotRegister
from registry.uploads import first_look, receiving
from registry.uploads.registration import Received, register

# Of what was sent before: those shown, and those among which they are looked for.
MOST_SHOWN = 20
MOST_LOOKED_AT = 200
KINDS = ((Modality.TEXT, "Text: rows"), (Modality.IMAGE, "Images: an archive of folders"))


class UploadForm(forms.Form):
    """What is said of files, whatever becomes of them. Raises PermissionDenied for whoever can
    write nowhere."""

    name = forms.CharField(max_length=200)
    description = forms.CharField(max_length=10_000, required=False, widget=forms.Textarea)
    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None)

    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        projects = writable_by(user)
        first = projects.first()
        if first is None:
            raise PermissionDenied
        field = self.fields["project"]
        field.queryset = projects  # type: ignore[attr-defined]
        field.initial = first.pk


class DatasetForm(UploadForm):
    version = forms.CharField(max_length=40, initial="1.0")
    modality = forms.ChoiceField(choices=KINDS, initial=Modality.TEXT)


@csrf_exempt
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_dataset(request: HttpRequest) -> HttpResponse:
    """The token is asked for below: before anybody reads the body, its files are told to go to the
    disk."""
    request.upload_handlers = [LimitedUpload(request)]
    try:
        return _new_dataset(request)
    except APIException as error:  # of the handler: too large, no room
        return _page(request, DatasetForm(request.user), str(error.detail), error.status_code)


@csrf_protect
def _new_dataset(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _page(request, DatasetForm(request.user))
    form = DatasetForm(request.user, request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    fields = form.cleaned_data
    uploads = _chosen(request)
    try:
        files = [*_sent(request), *(Received.of(upload, split) for upload, split in uploads)]
        dataset = register(user=request.user, files=files, **fields)
    except CannotRegister as error:
        return _page(request, form, str(error), 422)
    for upload, _ in uploads:
        receiving.remove(upload)
    return redirect("dataset", dataset.pk)


@login_required
@require_POST
def discard(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What has come of a file is not wanted any more. ``page`` is the form that it was shown on."""
    upload = get_object_or_404(Upload.objects.visible_to(request.user), pk=pk)
    if not may_change(request.user, upload.project_id):
        raise PermissionDenied
    receiving.remove(upload)
    messages.success(request, f"{upload} was removed.")
    return redirect("model-upload" if request.POST.get("page") == "model-upload" else "dataset-new")


def _sent(request: HttpRequest) -> list[Received]:
    """The files of the form itself."""
    return [
        Received.of_form(file, _split(split, file.name or ""))
        for split in SPLITS
        for file in request.FILES.getlist(split)
    ]


def _chosen(request: HttpRequest) -> list[tuple[Upload, str]]:
    """Uploads that have come before, each with the split that was chosen for it."""
    asked = {
        name.removeprefix("upload-"): split
        for name, split in request.POST.items()
        if name.startswith("upload-") and split in SPLITS
    }
    found = {str(upload.pk): upload for upload in own_uploads(request)}
    return [
        (found[pk], _split(split, found[pk].file_name))
        for pk, split in asked.items()
        if pk in found
    ]


def _split(chosen: str, file_name: str) -> str:
    """An archive brings folders for its splits."""
    return "" if archives.is_one(file_name) else chosen


def own_uploads(request: HttpRequest) -> Any:
    """What this person has sent, and what is still coming."""
    return Upload.objects.visible_to(request.user).filter(created_by=request.user)


def sent_before(request: HttpRequest, can_be_used: Callable[[str], bool]) -> list[Upload]:
    """The newest of it that the page has a use for, going by the names of the files."""
    newest = own_uploads(request)[:MOST_LOOKED_AT]
    return [upload for upload in newest if can_be_used(upload.file_name)][:MOST_SHOWN]


def _page(
    request: HttpRequest, form: DatasetForm, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "form": form,
        "problem": problem,
        "uploads": sent_before(request, first_look.is_of_a_dataset),
        "splits": SPLITS,
        "kinds": first_look.kinds(),
        "limit_mb": receiving.limit_bytes() // 2**20,
        "has_datasets": Dataset.objects.visible_to(request.user).exists(),
    }
    return render(request, "registry/dataset_new.html", context, status=status)
