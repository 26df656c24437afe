"""A probe from the preflight step: a few real steps of what the draft says, on a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from accounts.scoping import may_change
from training import probing, services
from training.models import Draft, Probe
from training.wizard import call
from training.wizard.sheet import Sheet

# Of a job's body, what a probe does not depend on.
NOT_MEASURED = ("name", "project_id", "metadata", "start", "resume_from_checkpoint")


@dataclass(frozen=True)
class Shown:
    """The newest probe of a draft. ``fits_settings``: nothing was changed since."""

    probe: Probe
    fits_settings: bool
    told: str = ""

    @property
    def is_over(self) -> bool:
        return bool(self.probe.outcome)

    @property
    def report(self) -> dict[str, Any] | None:
        """The preflight again, with what was measured of these very settings."""
        result = self.probe.result
        return result["report"] if result and self.fits_settings else None


def shown(sheet: Sheet) -> Shown | None:
    draft = sheet.draft
    if draft.probe_id is None:
        return None
    probe = Probe.objects.select_related("job").get(pk=draft.probe_id)
    told = ""
    if probe.job is not None and not probe.outcome:
        last = probe.job.events.exclude(message="").order_by("-cursor").first()
        told = last.message if last else ""
    return Shown(probe, draft.probed == _settings(sheet), told)


def is_under_way(sheet: Sheet) -> bool:
    probe = shown(sheet)
    return probe is not None and not probe.is_over


def report_of(probe: Shown | None) -> dict[str, Any] | None:
    return probe.report if probe else None


def _settings(sheet: Sheet) -> dict[str, Any]:
    return {name: value for name, value in call.body(sheet).items() if name not in NOT_MEASURED}


@login_required
@require_POST
def start(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One at a time: where one is under way, this leads back to it."""
    draft = _open_or_404(request, pk)
    if not may_change(request.user, draft.project_id):
        raise PermissionDenied
    sheet = Sheet(draft, request.user)
    now = shown(sheet)
    if now is not None and not now.is_over:
        messages.error(request, "A probe is under way already.")
    elif sheet.plan is None:
        messages.error(request, "The settings have to be right first.")
    else:
        _start(request, sheet)
    return redirect("draft-step", pk, "preflight")


def _start(request: HttpRequest, sheet: Sheet) -> None:
    assert sheet.plan is not None
    draft = sheet.draft
    try:
        probe = probing.create(plan=sheet.plan, actor=request.user, project_id=draft.project_id)
    except services.PreflightFailed as error:
        messages.error(request, str(error))
        return
    Draft.objects.filter(pk=draft.pk).update(probe=probe, probed=_settings(sheet))


@login_required
@require_POST
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    draft = _open_or_404(request, pk)
    if draft.probe is not None:
        try:
            probing.cancel(draft.probe, actor=request.user)
        except probing.AlreadyOver:
            messages.success(request, "The probe was over already.")
    return redirect("draft-step", pk, "preflight")


def _open_or_404(request: HttpRequest, pk: UUID) -> Draft:
    drafts = Draft.objects.of(request.user).unfinished()
    return get_object_or_404(drafts.select_related("probe__job"), pk=pk)
