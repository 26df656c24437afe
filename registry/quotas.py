"""How much room the files of a project may take below TRAINYARD_HOME.

What lies elsewhere and is only registered here does not count. Files that are shared on the disk
count in each project that has them: nobody's quota depends on what others delete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db.models import Sum
from django.utils.module_loading import import_string

from accounts.models import Project
from registry.models import Adapter, BaseModel, Dataset, Entry

GB = 10**9


class OverQuota(ValueError):
    """There is no room for it in the project. The message has the numbers."""


def bytes_of(projects: Collection[UUID]) -> Counter[UUID]:
    """What the entries of these projects take: three queries, however many projects."""
    used: Counter[UUID] = Counter()
    for kind in (BaseModel, Dataset, Adapter):
        ours = kind._default_manager.filter(project__in=projects, storage_path__startswith=_home())
        for project_id, size in ours.order_by().values_list("project").annotate(Sum("size_bytes")):
            used[project_id] += size
    return used


def counts(entry: Entry) -> bool:
    return entry.storage_path.startswith(_home())


def _home() -> str:
    return f"{Path(settings.TRAINYARD_HOME).resolve()}/"


def check(project: Project | None, more_bytes: int) -> None:
    """Raises OverQuota where so many bytes more would be too many.

    Called inside a transaction: nobody else takes room in this project until it ends.
    """
    if project is None or project.max_storage_gb is None:
        return
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if reason := refusal(project, more_bytes):
        raise OverQuota(reason)


def refusal(project: Project | None, more_bytes: int) -> str:
    """Why there is no room for so many bytes more; empty where there is."""
    if project is None or project.max_storage_gb is None:
        return ""
    limit = project.max_storage_gb * GB
    # Jobs are known above the registry, so it asks by name, as `accounts` does.
    used = import_string(settings.TRAINYARD_PROJECT_USE)(project)["storage_bytes"]
    if used + more_bytes <= limit and used < limit:
        return ""
    return (
        f"Project {project} uses {_gb(used)} of its {project.max_storage_gb:,} GB, so there is no "
        f"room for {_gb(more_bytes)} more. Delete what is not needed, or ask for a larger quota."
    )


def _gb(size: int) -> str:
    return f"{size / GB:,.2f} GB" if size >= GB / 100 else f"{size:,} bytes"
