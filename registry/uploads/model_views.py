"""/models/upload: files become a model, in the same two ways as those of a dataset."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods
from rest_framework.exceptions import APIException

from registry.api.uploads import LimitedUpload
from registry.models import Upload
from registry.services import CannotRegister
from registry.uploads import first_look, model_registration, receiving
from registry.uploads.registration import Received
from registry.uploads.views import UploadForm, own_uploads, sent_before


@csrf_exempt
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def upload_model(request: HttpRequest) -> HttpResponse:
    """The token is asked for below: before anybody reads the body, its files are told to go to the
    disk."""
    request.upload_handlers = [LimitedUpload(request)]
    try:
        return _upload_model(request)
    except APIException as error:  # of the handler: too large, no room
        return _page(request, UploadForm(request.user), str(error.detail), error.status_code)


@csrf_protect
def _upload_model(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _page(request, UploadForm(request.user))
    form = UploadForm(request.user, request.POST)
    if not form.is_valid():
        return _page(request, form, status=422)
    uploads = _chosen(request)
    try:
        files = [Received.of_form(file) for file in request.FILES.getlist("model")]
        files += [Received.of(upload) for upload in uploads]
        model = model_registration.register_model(
            user=request.user, files=files, **form.cleaned_data
        )
    except CannotRegister as error:
        return _page(request, form, str(error), 422)
    for upload in uploads:
        receiving.remove(upload)
    return redirect("model", model.pk)


def _chosen(request: HttpRequest) -> list[Upload]:
    """Of those that have come before, what was ticked."""
    asked = {name.removeprefix("upload-") for name in request.POST if name.startswith("upload-")}
    return [upload for upload in own_uploads(request) if str(upload.pk) in asked]


def _page(
    request: HttpRequest, form: UploadForm, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "form": form,
        "problem": problem,
        "uploads": sent_before(request, first_look.is_of_a_model),
        "kinds": model_registration.KINDS,
        "limit_mb": receiving.limit_bytes() // 2**20,
    }
    return render(request, "registry/model_upload.html", context, status=status)
