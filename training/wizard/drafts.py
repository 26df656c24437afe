"""What people do with a draft: begin, answer, fix, discard it, and make a job of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils.text import slugify
from rest_framework import serializers

from accounts.models import Project
from accounts.scoping import may_change, writable_by
from training import judging, services
from training.api.recipes import RecipeSerializer
from training.api.serializers import JobCreateSerializer
from training.models import Draft, Job, Recipe
from training.wizard import call, changes, fields
from training.wizard.call import RESUMED_JOB, RESUMED_STEP
from training.wizard.catalogue import ASKED, LABELS, label
from training.wizard.sheet import Sheet
from training.wizard.steps import NAMES, after

LONGEST_ANSWER = 2000


class Gone(Exception):
    """What was asked for is not there any more; the message says what."""


@dataclass(frozen=True)
class Seen:
    """What a page knows: the draft's version, and which page it is itself."""

    version: int
    tab: str


@dataclass(frozen=True)
class Difference:
    """An answer that says something else here than where it was changed last."""

    path: str
    here: str
    there: str

    @property
    def label(self) -> str:
        return label(self.path)


class ChangedElsewhere(Exception):
    """Another page has changed what this one is about to overwrite. Nothing was written."""

    def __init__(self, draft: Draft, differences: list[Difference]) -> None:
        super().__init__("It was changed on another page.")
        self.draft = draft
        self.differences = differences


class _MadeMeanwhile(Exception):
    """Another request has made a job of this draft, and this one must be rolled back."""


# --- Beginning -----------------------------------------------------------------------------------


def begin(
    user: Any, *, answers: dict[str, str], metadata: dict[str, Any], project: Project
) -> Draft:
    """A new draft, or the one that was begun the same way and never touched since."""
    untouched = Draft.objects.of(user).unfinished().filter(done=[], project=project)
    for draft in untouched.order_by("-created_at")[:5]:
        if draft.answers == answers and draft.metadata == metadata:
            return draft
    draft = Draft(owner=user, project=project, answers=answers, metadata=metadata)
    sheet = Sheet(draft, user)
    draft.title = sheet.title
    draft.save(force_insert=True)
    return draft


def answers_of(job: Job, step: int | None = None) -> dict[str, str]:
    """What somebody would have said who wanted the same job again, or to go on from one of its
    checkpoints."""
    experiment = job.experiment
    answers = {
        "base_model_id": str(experiment.base_model_id),
        "dataset_id": str(experiment.dataset_id),
        "recipe_id": str(experiment.recipe_id),
        "export": fields.shown(experiment.export),
        "name": f"{job.name[:190]} (copy)",
    }
    if step is not None:
        answers |= {RESUMED_JOB: str(job.pk), RESUMED_STEP: str(step)}
        answers["name"] = f"{job.name[:170]}, from step {step}"
    sections = {
        "train": experiment.train,
        "lora": experiment.lora,
        "columns": experiment.columns,
        "resources": experiment.resources,
        "eval": experiment.eval,
    }
    for section, settings in sections.items():
        for name, value in settings.items():
            if f"{section}.{name}" in ASKED:
                answers[f"{section}.{name}"] = fields.shown(value)
    return {path: text for path, text in answers.items() if text}


def settle(draft: Draft, user: Any) -> None:
    """Of a draft that begins with all answers: what would hold anyway was not said, so that it may
    follow when something else is changed, and the steps before preflight are gone through."""
    defaults = Sheet(draft, user).defaults
    draft.answers = {
        path: text for path, text in draft.answers.items() if defaults.get(path) != text
    }
    sheet = Sheet(draft, user)
    before = NAMES[: NAMES.index("preflight")]
    wrong = next((n for n, name in enumerate(before) if name in sheet.problems), len(before))
    draft.done = list(before[:wrong])
    draft.save(update_fields=["answers", "done", "updated_at"])


def projects_of(user: Any) -> list[Project]:
    """Where this user may make jobs, the default one first."""
    return list(writable_by(user)[:100])


# --- Answering -----------------------------------------------------------------------------------


def answer(draft: Draft, said: dict[str, str], user: Any, seen: Seen | None = None) -> Sheet:
    """Write down what was said, whether or not it can be, and what it changes elsewhere. Raises
    ChangedElsewhere where the page that says it has not ``seen`` what it would overwrite."""
    said = {path: _clean(text) for path, text in said.items() if path in ASKED or path in LABELS}
    before = Sheet(draft, user)
    if project_id := said.pop("project_id", ""):
        _move(draft, project_id, user)
    defaults = before.defaults
    with transaction.atomic():
        row = Draft.objects.select_for_update().get(pk=draft.pk)
        if seen is not None and seen.version != row.version and seen.tab != row.tab:
            before = Sheet(row, user)
            defaults = before.defaults
            if differences := _differences(before, said):
                raise ChangedElsewhere(row, differences)
        was = dict(row.answers)
        for path, text in said.items():
            if text and text != defaults.get(path):
                row.answers[path] = text
            else:
                row.answers.pop(path, None)
        if row.answers != was:
            row.version += 1
            row.tab = seen.tab[:32] if seen else ""
        row.save(update_fields=["answers", "version", "tab", "updated_at"])
    row.project = draft.project
    now = Sheet(row, user)
    written = ["notes", "title", "project"]
    if before.draft.answers.get("dataset_id") != row.answers.get("dataset_id"):
        _forget_columns(row, said)
        written.append("answers")
        now = Sheet(row, user)
    if any(before.draft.answers.get(path) != row.answers.get(path) for path in changes.EARLY):
        row.notes = changes.notes(before, now, said)
    row.title = (row.answers.get("name") or now.title)[:300]
    row.save(update_fields=written)
    return now


def _differences(now: Sheet, said: dict[str, str]) -> list[Difference]:
    return [
        Difference(path, text, now.value(path))
        for path, text in said.items()
        if text != now.value(path)
    ]


def _clean(text: str) -> str:
    """PostgreSQL keeps no NUL."""
    return text.replace("\x00", "").strip()[:LONGEST_ANSWER]


def _forget_columns(draft: Draft, said: dict[str, str]) -> None:
    """They were those of another dataset, unless they came together with it."""
    for path in [path for path in draft.answers if path.startswith("columns.")]:
        if path not in said:
            del draft.answers[path]


def _move(draft: Draft, project_id: str, user: Any) -> None:
    """Raises PermissionDenied."""
    found = next((one for one in projects_of(user) if str(one.pk) == project_id), None)
    if found is None:
        raise PermissionDenied
    draft.project = found


def begin_anew(draft: Draft) -> None:
    """With the base model instead of a checkpoint."""
    with transaction.atomic():
        row = Draft.objects.select_for_update().get(pk=draft.pk)
        for path in (RESUMED_JOB, RESUMED_STEP):
            row.answers.pop(path, None)
        row.version += 1
        row.tab = ""
        row.save(update_fields=["answers", "version", "tab", "updated_at"])


def go_through(draft: Draft, step: str) -> str:
    """This step is done, and what was to be said about it is read. The next one."""
    done = {*draft.done, step}
    draft.done = [name for name in NAMES if name in done]
    draft.notes = [note for note in draft.notes if note["step"] != step]
    draft.save(update_fields=["done", "notes", "updated_at"])
    return after(step)


def fix(draft: Draft, title: str, user: Any) -> Sheet:
    """Apply the fix of that name that preflight offers now. Raises Gone where it no longer does."""
    before = Sheet(draft, user)
    report = before.report
    found = next((one for one in (report.fixes if report else ()) if one.title == title), None)
    if found is None:
        raise Gone(f"'{title}' is not offered any more: something else was changed meanwhile.")
    recipe = before.recipe
    assert recipe is not None  # without one there is no report
    with transaction.atomic():
        said = _said_by(found.patch)
        now = draft.answers
        said = {k: v for k, v in said.items() if not _mean_the_same(now.get(k, ""), v)}
        sheet = answer(draft, said, user)
        # Another recipe or card brings defaults of its own, and the fix was judged without them.
        wanted = judging.settings_of(found, instead_of=recipe)
        sheet = answer(sheet.draft, _otherwise(sheet, wanted), user)
        # Preflight is where one is, and shows it.
        sheet.draft.notes = [note for note in sheet.draft.notes if note["step"] != "preflight"]
        sheet.draft.save(update_fields=["notes"])
    return sheet


def _said_by(patch: dict[str, Any]) -> dict[str, str]:
    said: dict[str, str] = {}
    for section, values in patch.items():
        if isinstance(values, dict):
            said |= {f"{section}.{name}": fields.shown(value) for name, value in values.items()}
        else:
            said[section] = values
    return said


def _otherwise(sheet: Sheet, wanted: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Of the settings that are wanted, those that the draft does not come to. A number stays as it
    was written."""
    return {
        path: text
        for path, text in _said_by(wanted).items()
        if path in ASKED and sheet.asks(path) and not _mean_the_same(sheet.value(path), text)
    }


def _mean_the_same(one: str, other: str) -> bool:
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


# --- The end -------------------------------------------------------------------------------------


def create(draft: Draft, user: Any) -> Job:
    """The job of this draft: made once, however often it is asked for.

    Raises serializers.ValidationError, PreflightFailed and PermissionDenied, and then nothing was
    made.
    """
    if draft.job is not None:
        return draft.job
    sheet = Sheet(draft, user)
    body = JobCreateSerializer(data=call.body(sheet), context={"request": sheet})
    body.is_valid(raise_exception=True)
    plan = dict(body.validated_data)
    project = plan.pop("project")
    if not may_change(user, project.pk):
        raise PermissionDenied

    def claim(job: Job) -> None:
        if not Draft.objects.filter(pk=draft.pk, job=None).update(job=job):
            raise _MadeMeanwhile

    try:
        return services.create_job(
            name=plan.pop("name"),
            metadata=plan.pop("metadata", None),
            start_it=plan.pop("start"),
            plan=plan,
            actor=user,
            project_id=project.pk,
            also=claim,
        )
    except _MadeMeanwhile:
        return Job.objects.get(draft=draft.pk)


def keep_as_recipe(draft: Draft, display_name: str, user: Any) -> Recipe:
    """A recipe of the draft's project with what was said about training.

    Raises serializers.ValidationError and PermissionDenied.
    """
    sheet = Sheet(draft, user)
    if sheet.recipe is None or sheet.plan is None:
        raise serializers.ValidationError({"": "The settings have to be right first."})
    train = {**sheet.recipe.defaults.get("train", {}), **sheet.settings.get("train", {})}
    defaults = {"train": train}
    if sheet.plan["lora"]:
        lora = {**sheet.recipe.defaults.get("lora", {}), **sheet.settings.get("lora", {})}
        defaults["lora"] = lora
    body = RecipeSerializer(
        data={
            "name": slugify(display_name)[:60],
            "display_name": display_name,
            "description": f"{sheet.recipe.description} Made from {sheet.recipe}.".strip(),
            "method": sheet.recipe.method,
            "modality": sheet.recipe.modality,
            "supports_quantized": sheet.recipe.supports_quantized,
            "defaults": defaults,
            "project_id": str(draft.project_id),
        },
        context={"request": sheet},
    )
    body.is_valid(raise_exception=True)
    recipe: Recipe = body.save()
    return recipe


def discard(draft: Draft) -> None:
    """Only what has not become a job can go."""
    Draft.objects.filter(pk=draft.pk, job=None).delete()
