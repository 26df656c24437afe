"""Code that models bring along: it runs only when a member of staff has read and approved it.

An approval is of contents, not of a name: it holds for these very files, in whatever folder they
lie, and for a model that has some of them (what a job has trained keeps only what it needs).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from registry.inspect import CustomCode, custom_code
from registry.models import BaseModel, CodeReview

# Of one file, on the page where it is read.
LONGEST_SHOWN = 200_000


def approves(code: CustomCode) -> bool:
    """Has somebody approved these files, or more with these among them?"""
    approved = CodeReview.objects.exclude(approved_at=None)
    if approved.filter(sha256=code.sha256).exists():
        return True
    return any(
        code.files.items() <= files.items() for files in approved.values_list("files", flat=True)
    )


def ask_for(code: CustomCode, folder: Path) -> CodeReview:
    """Put the code before the staff, once."""
    review, _ = CodeReview.objects.get_or_create(
        sha256=code.sha256, defaults={"files": code.files, "found_in": str(folder)}
    )
    return review


@transaction.atomic
def approve(review: CodeReview, *, actor: Any) -> CodeReview:
    review.approved_by, review.approved_at = actor, timezone.now()
    review.save(update_fields=["approved_by", "approved_at"])
    return review


@transaction.atomic
def withdraw(review: CodeReview) -> CodeReview:
    """Models that need this code are not used from now on. A run that has begun goes on."""
    review.approved_by, review.approved_at = None, None
    review.save(update_fields=["approved_by", "approved_at"])
    return review


def refusal(model: BaseModel) -> str:
    """Why the code that this model needs may not run; empty where it may, and where none is."""
    if code_of(model) is None:
        return ""
    code = custom_code(Path(model.storage_path))
    if approves(code):
        return ""
    return (
        f"Model '{model.name}' needs code of its own, and the code that lies there now is not "
        f"approved (SHA-256 {code.sha256}). A member of staff has to read and approve it."
    )


def code_of(model: BaseModel) -> dict[str, str] | None:
    """The Python files that this model loads with, and the SHA-256 of each; None for none."""
    found = model.inspection.get("code")
    return found["files"] if isinstance(found, dict) else None


def text_of(review: CodeReview) -> str:
    """The files themselves, as far as they still lie where they were found."""
    shown = []
    now = custom_code(Path(review.found_in)).files if Path(review.found_in).is_dir() else {}
    for name, sha256 in sorted(review.files.items()):
        if now.get(name) != sha256:
            shown.append(f"# {name}: no longer in {review.found_in}\n")
            continue
        with open(Path(review.found_in) / name, "rb") as file:
            text = file.read(LONGEST_SHOWN).decode("utf-8", "replace")
        shown.append(f"# {name}\n\n{text}")
    return "\n\n".join(shown)
