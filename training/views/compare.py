"""Several jobs beside each other: ``/jobs/compare?job=…&job=…``."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from accounts import ticked
from api.pages import render_page
from training import curves, side_by_side
from training.models import Job

CHART = {"width": 720, "height": 240}


@login_required
@require_safe
def jobs_compare(request: HttpRequest) -> HttpResponse:
    """In the order in which they were named. One that cannot be seen is as if it were not there."""
    ids = ticked.chosen(request, "job", request.GET.getlist("job"))
    if len(ids) > side_by_side.MOST_JOBS:
        raise BadRequest(f"job: at most {side_by_side.MOST_JOBS} beside each other.")
    found = Job.objects.visible_to(request.user).with_everything().in_bulk(ids)
    jobs = [found[pk] for pk in ids if pk in found]
    if ids and not jobs:
        raise Http404
    settings = side_by_side.settings(jobs) if jobs else []
    show_all = "all" in request.GET
    series = side_by_side.series(jobs) if jobs else []
    context: dict[str, Any] = {
        "jobs": [
            {"job": job, "colour": number, "others": [pk for pk in ids if pk != job.pk]}
            for number, job in enumerate(jobs)
        ],
        "settings": settings if show_all else [line for line in settings if line.differs],
        "show_all": show_all,
        "alike": sum(not line.differs for line in settings),
        "numbers": [(line, side_by_side.best_of(line)) for line in side_by_side.numbers(jobs)],
        "series": series,
        "drawing": curves.overlaid([one["loss"] for one in series], **CHART),
        "chart": CHART,
    }
    return render_page(request, "jobs/compare.html", context)
