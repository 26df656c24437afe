"""What each step's page shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.db.models import Prefetch
from django.http import HttpRequest

from accounts import lists
from accounts.questions import Question
from registry import selector
from registry.models import Dataset
from training import api_call
from training.models import Device, Draft, Job, Partition, Recipe, Worker
from training.preflight.hardware import same_card
from training.trainer.spec import METHODS
from training.wizard import call, catalogue, choices, drafts, expiry, fields, picture, probes
from training.wizard.catalogue import Words
from training.wizard.sheet import Sheet
from training.wizard.steps import BY_NAME, NAMES

CARDS_A_PAGE = 12


def context(
    request: HttpRequest,
    sheet: Sheet,
    step: str,
    *,
    complain: bool = False,
    refused: dict[str, str] | None = None,
) -> dict[str, Any]:
    """``complain``: somebody wanted to go on, so what is missing is said aloud. ``refused``: what
    the API said in the end."""
    shown: dict[str, Any] = {
        "sheet": sheet,
        "draft": sheet.draft,
        "step": BY_NAME[step],
        "steps": sheet.states(step),
        "position": NAMES.index(step) + 1,
        "notes": labelled(sheet.draft.notes),
        "problems": sheet.problems.get(step, []) if complain else [],
        "kept_days": expiry.KEPT.days,
        "tab": uuid4().hex,
    }
    if BY_NAME[step].live or step in ("preflight", "review"):
        shown |= estimate(sheet)
    return shown | _OF_STEP[step](request, sheet, refused or {})


def saved(
    request: HttpRequest, sheet: Sheet, step: str, said: dict[str, str], *, before: Draft
) -> dict[str, Any]:
    """What a script gets for saving: the estimate, the errors beside the fields, and the fields
    that show something else now than the page it came from."""
    paths = [path for path in catalogue.ASKED if path.startswith(BY_NAME[step].asks)]
    asked = [path for path in paths if sheet.asks(path)]
    stale = [path for path in asked if said.get(path) and said[path].strip() != sheet.value(path)]
    if _differs("resources.partition_id", sheet, before) and "resources.gpu_type" not in stale:
        stale.append("resources.gpu_type")
    shown = {
        "sheet": sheet,
        "draft": sheet.draft,
        "step": BY_NAME[step],
        "steps": sheet.states(step),
        "notes": labelled(sheet.draft.notes),
        "errors": [
            {"id": fields.id_of(path), "text": sheet.errors.get(path, "")}
            for path in asked
            if path not in stale and path in said
        ],
        "stale": [one_field(sheet, path) for path in stale],
    }
    if BY_NAME[step].live:
        shown |= estimate(sheet)
    if step == "review":
        shown["curl"] = api_call.curl(request, call.body(sheet))
    if step == "data" and _differs("dataset_id", sheet, before):
        shown |= {"other_columns": True, **column_choices(sheet)}
        shown["errors"], shown["stale"] = [], []  # they were those of the other dataset
    return shown


def _differs(path: str, sheet: Sheet, before: Draft) -> bool:
    return bool(before.answers.get(path) != sheet.draft.answers.get(path))


def labelled(notes: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**note, "label": BY_NAME[note["step"]].label} for note in notes]


def estimate(sheet: Sheet) -> dict[str, Any]:
    """What the bar and the sentences about memory and time need."""
    report, experiment = sheet.report, sheet.experiment
    return {
        "report": report,
        "picture": picture.of(report.as_dict() if report else None),
        "steps_of_run": experiment.steps if experiment else None,
        "micro_batch": experiment.micro_batch_size if experiment else None,
    }


def _model(request: HttpRequest, sheet: Sheet, refused: dict[str, str]) -> dict[str, Any]:
    asked = request.GET if request.GET else {"trainable": "true"}
    found = selector.models(request.user, asked, CARDS_A_PAGE)
    on_page = any(model == sheet.model for model in found["page"])
    chosen_elsewhere = None if on_page else sheet.model
    return {**found, "chosen": sheet.model, "chosen_elsewhere": chosen_elsewhere}


class DatasetsOffered(selector.DatasetsAsked):
    """Those that go with a model are of its modality, and have no headings to sort by."""

    selects = ("row_format", "is_split", "sort")


def _data(request: HttpRequest, sheet: Sheet, refused: dict[str, str]) -> dict[str, Any]:
    model = sheet.model
    form = DatasetsOffered(request.GET)
    found = form.found(request.user)
    if model is None:
        return {"form": form, "choices": [], "others": [], "columns": []}
    suited = choices.suited(found, model)
    shown = Dataset.objects.defer("integrity_report")
    asked = (model.modality, *sorted(form.cleaned_data.items()))
    question = Question(request.user, *asked, of=[Dataset])
    page = lists.page_of(suited, shown, request.GET.get("page"), question, size=CARDS_A_PAGE)
    chosen = sheet.dataset
    on_page = any(row == chosen for row in page)
    return {
        "page": page,
        "form": form,
        "choices": choices.in_order(choices.data_choice(row, model) for row in page),
        "others": choices.unsuited(found, model),
        "chosen": chosen,
        "chosen_elsewhere": choices.data_choice(chosen, model) if chosen and not on_page else None,
        **column_choices(sheet),
    }


def column_choices(sheet: Sheet) -> dict[str, Any]:
    chosen = sheet.dataset
    differs = chosen is not None and bool(sheet.columns) and sheet.columns != chosen.columns
    return {
        "columns": columns(sheet),
        "columns_differ": differs,
        "unfold": bool(sheet.columns) or not (chosen and chosen.statistics.get("row_format")),
    }


def columns(sheet: Sheet) -> list[fields.Field]:
    """One for each field of a row, with the columns of the files to choose from."""
    if sheet.dataset is None:
        return []
    names = list(sheet.dataset.statistics.get("columns", ()))
    if not names:
        return []
    options = [("", "As it is called"), *((name, name) for name in names)]
    return [field(sheet, path, words, choices=options) for path, words in catalogue.COLUMNS.items()]


def _style(request: HttpRequest, sheet: Sheet, refused: dict[str, str]) -> dict[str, Any]:
    if sheet.model is None or sheet.dataset is None:
        return {"choices": []}
    visible = Recipe.objects.visible_to(request.user)
    ours = visible.exclude(pk=sheet.recipe.pk if sheet.recipe else None)
    rows = [*([sheet.recipe] if sheet.recipe else []), *ours[: choices.STYLES_SHOWN]]
    order = {name: place for place, name in enumerate(METHODS)}
    rows.sort(key=lambda one: (not one.built_in, order.get(one.method, 99), one.display_name))
    found = choices.styles(rows, sheet.model, sheet.dataset, sheet.columns)
    return {"choices": found, "chosen": sheet.recipe}


def _settings(request: HttpRequest, sheet: Sheet, refused: dict[str, str]) -> dict[str, Any]:
    groups: list[dict[str, Any]] = []
    for title, asked in catalogue.GROUPS.items():
        found = [field(sheet, path, words) for path, words in asked.items() if sheet.asks(path)]
        groups.append(
            {
                "title": title,
                "plain": [one for one in found if not one.words.advanced],
                "advanced": [one for one in found if one.words.advanced],
            }
        )
    folded = [group for group in groups if group["advanced"]]
    is_said = any(one.is_said or one.error for group in folded for one in group["advanced"])
    return {
        "groups": [group for group in groups if group["plain"]],
        "folded": folded,
        "unfold": is_said,
    }


def _resources(request: HttpRequest, sheet: Sheet, refused: dict[str, str]) -> dict[str, Any]:
    devices = Device.objects.select_related("lease")
    workers = Worker.objects.prefetch_related(Prefetch("devices", queryset=devices))
    partitions = Partition.objects.prefetch_related(Prefetch("workers", queryset=workers))
    evaluation = [field(sheet, path, words) for path, words in catalogue.EVALUATION.items()]
    asked = [path for path in catalogue.RESOURCES if path != "resources.partition_id"]
    return {
        "partitions": [_partition(one, sheet) for one in partitions],
        "partition_error": sheet.errors.get("resources.partition_id", ""),
        "machines": [one_field(sheet, path) for path in asked],
        "evaluation": [one for one in evaluation if not one.words.advanced],
        "evaluation_folded": [one for one in evaluation if one.words.advanced],
        "export": [field(sheet, path, words) for path, words in catalogue.EXPORT.items()],
    }


def one_field(sheet: Sheet, path: str) -> fields.Field:
    choices = {"choices": _kinds_of_card(sheet)} if path == "resources.gpu_type" else {}
    return field(sheet, path, catalogue.ASKED[path], **choices)


def _kinds_of_card(sheet: Sheet) -> list[tuple[str, str]]:
    """Those of the partition, and what was said where it has no such card."""
    kinds = dict.fromkeys(device.gpu_type for device in sheet.devices if device.gpu_type)
    said = sheet.value("resources.gpu_type")
    if said and not any(same_card(kind, said) for kind in kinds):
        kinds[said] = None
    return [("", "Any"), *((kind, kind) for kind in kinds)]


def _partition(partition: Partition, sheet: Sheet) -> dict[str, Any]:
    """With its cards, and how many of each kind are free."""
    kinds: dict[str, dict[str, Any]] = {}
    for worker in partition.workers.all():
        for device in worker.devices.all():
            kind = kinds.setdefault(
                device.name,
                {"name": device.name, "memory_mb": device.memory_mb, "all": 0, "free": 0},
            )
            kind["all"] += 1
            kind["free"] += not hasattr(device, "lease")
    return {
        "row": partition,
        "kinds": list(kinds.values()),
        "chosen": str(partition.pk) == sheet.value("resources.partition_id"),
    }


def _preflight(request: HttpRequest, sheet: Sheet, refused: dict[str, str]) -> dict[str, Any]:
    report = sheet.report
    probe = probes.shown(sheet)
    measured = probes.report_of(probe)
    return {
        "probe": probe,
        **({"report": measured, "picture": picture.of(measured)} if measured else {}),
        "blocking": sheet.problems.get("preflight", []),
        "earlier": [
            {"step": BY_NAME[name], "problems": problems}
            for name, problems in sheet.problems.items()
            if name != "preflight"
        ],
        "fixes": [fix.as_dict() for fix in report.fixes] if report else [],
        "range": (measured or (report.as_dict() if report else {})).get("total_time_range_s"),
    }


def _review(request: HttpRequest, sheet: Sheet, refused: dict[str, str]) -> dict[str, Any]:
    projects = drafts.projects_of(request.user)
    options = [(str(one.pk), one.name) for one in projects]
    name, start = catalogue.REVIEW["name"], catalogue.REVIEW["start"]
    return {
        "name": field(sheet, "name", name, error=refused.pop("name", "")),
        "start": field(sheet, "start", start),
        "project": fields.make(
            "project_id",
            catalogue.REVIEW["project_id"],
            value=str(sheet.draft.project_id),
            default="",
            choices=options,
        )
        if len(projects) > 1
        else None,
        "refused": refused,
        "chosen": [
            {"step": "model", "label": "Base model", "value": sheet.model},
            {"step": "data", "label": "Dataset", "value": sheet.dataset},
            {"step": "style", "label": "Training style", "value": sheet.recipe},
        ],
        "resumed": _resumed(sheet),
        "sections": [_section(sheet, name) for name in ("data", "settings", "resources")],
        "curl": api_call.curl(request, call.body(sheet)),
        "kept": sheet.draft.title,
    }


def _resumed(sheet: Sheet) -> dict[str, Any] | None:
    """The checkpoint that the job begins with, and its job where that is still there."""
    found = call.resumed_from(sheet)
    if found is None:
        return None
    job = Job.objects.visible_to(sheet.user).filter(pk=found["job_id"]).first()
    return {"step": found["step"], "job": job}


def _section(sheet: Sheet, step: str) -> dict[str, Any]:
    """Every setting of a step that the job will have; what was said is marked."""
    rows = [
        {"words": words, "value": sheet.value(path), "said": path in sheet.said}
        for path, words in catalogue.ASKED.items()
        if path.startswith(BY_NAME[step].asks) and sheet.asks(path) and sheet.value(path)
        if not (path == "train.num_train_epochs" and sheet.value("train.max_steps"))
    ]
    return {"step": BY_NAME[step], "rows": _named(sheet, rows)}


def _named(sheet: Sheet, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A partition by its name, not its id."""
    for row in rows:
        if row["words"] is catalogue.RESOURCES["resources.partition_id"]:
            row["value"] = str(sheet.partition)
    return rows


def field(sheet: Sheet, path: str, words: Words, **facts: Any) -> fields.Field:
    facts.setdefault("error", sheet.errors.get(path, ""))
    return fields.make(
        path,
        words,
        value=sheet.value(path),
        default=sheet.defaults.get(path, ""),
        why=sheet.why(path),
        **facts,
    )


_OF_STEP: dict[str, Callable[[HttpRequest, Sheet, dict[str, str]], dict[str, Any]]] = {
    "model": _model,
    "data": _data,
    "style": _style,
    "settings": _settings,
    "resources": _resources,
    "preflight": _preflight,
    "review": _review,
}
