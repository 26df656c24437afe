"""What takes how much room: by project and kind, and what is largest."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Model, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.models import Project
from accounts.questions import Question
from registry import quotas, store
from registry.models import Adapter, BaseModel, Dataset
from training.models import Artifact, Checkpoint, Job
from training.quotas import REGISTERED_EXPORT

KINDS = ("Models", "Datasets", "Adapters", "Other exports", "Checkpoints")
LARGEST_SHOWN = 10


@dataclass
class Use:
    project: Project
    by_kind: Counter[str] = field(default_factory=Counter)

    @property
    def parts(self) -> list[tuple[str, int]]:
        return [(kind, self.by_kind[kind]) for kind in KINDS]

    @property
    def is_empty(self) -> bool:
        return not self.by_kind.total()

    @property
    def counted_bytes(self) -> int:
        """As `quotas` counts: checkpoints come and go with their job."""
        return self.by_kind.total() - self.by_kind["Checkpoints"]

    @property
    def limit_bytes(self) -> int | None:
        limit = self.project.max_storage_gb
        return None if limit is None else limit * quotas.GB


@login_required
@require_safe
def storage(request: HttpRequest) -> HttpResponse:
    projects = list(Project.objects.visible_to(request.user))
    context: dict[str, Any] = {
        "uses": uses(projects, request.user),
        "kinds": KINDS,
        "largest": largest(request.user),
    }
    if request.user.is_staff:
        context["store"] = totals()
    return render(request, "storage.html", context)


def uses(projects: list[Project], user: Any) -> list[Use]:
    """Five sums, however many projects; each is made again when its tables have changed."""
    ids = [project.pk for project in projects]
    found: dict[UUID, Counter[str]] = defaultdict(Counter)
    home = f"{Path(settings.TRAINYARD_HOME).resolve()}/"
    others = Artifact.objects.exclude(kind=REGISTERED_EXPORT)
    rows: dict[str, tuple[QuerySet[Any], str]] = {
        "Models": (BaseModel.objects.filter(storage_path__startswith=home), "project"),
        "Datasets": (Dataset.objects.filter(storage_path__startswith=home), "project"),
        "Adapters": (Adapter.objects.filter(storage_path__startswith=home), "project"),
        "Other exports": (others, "job__project"),
        "Checkpoints": (Checkpoint.objects.all(), "job__project"),
    }
    for kind, (of_kind, path) in rows.items():
        mine = of_kind.filter(**{f"{path}__in": ids}).order_by()
        sums = mine.values_list(path).annotate(Sum("size_bytes"))
        tables: list[type[Model]] = [of_kind.model]
        if "__" in path:
            tables.append(Job)
        for project_id, size in Question(user, of=tables).answer(kind, partial(list, sums)):
            found[project_id][kind] = size
    return [Use(project, found[project.pk]) for project in projects]


def largest(user: Any) -> list[dict[str, Any]]:
    """Of what this user sees and has files."""
    found = []
    for kind, url_name in ((BaseModel, "model"), (Dataset, "dataset"), (Adapter, "adapter")):
        rows = kind._default_manager.visible_to(user).exclude(storage_path="")
        newest = rows.order_by("-size_bytes").values("pk", "name", "size_bytes", "project__name")
        found += [{**row, "kind": url_name} for row in newest[:LARGEST_SHOWN]]
    return sorted(found, key=lambda row: -row["size_bytes"])[:LARGEST_SHOWN]


def totals() -> dict[str, int]:
    """Of the store: what is on the disk, and what sharing saves."""
    found = {"files": 0, "size_bytes": 0, "saved_bytes": 0, "unused_bytes": 0}
    for copy in store.copies():
        found["files"] += 1
        found["size_bytes"] += copy.size_bytes
        found["saved_bytes"] += max(copy.users - 1, 0) * copy.size_bytes
        found["unused_bytes"] += 0 if copy.users else copy.size_bytes
    return found
