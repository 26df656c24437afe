"""A draft as it stands: what was said, what follows from it, what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import asdict
from functools import cached_property
from typing import Any
from uuid import UUID

from api.errors import flatten
from registry.models import BaseModel, Dataset
from training import checking, judging, preflight
from training.api.plans import PlanSerializer
from training.models import Device, Draft, Partition, Recipe
from training.trainer import spec
from training.wizard import choices, fields
from training.wizard.catalogue import ASKED
from training.wizard.defaults import Suggestion, suggestions
from training.wizard.steps import BY_NAME, NAMES, step_of

IDS = ("base_model_id", "dataset_id", "recipe_id")
REVIEWED = ("name", "project_id", "start")
# Settings that some methods have and others have not.
_OF_SOME = frozenset(name for method in spec.METHODS.values() for name in method.settings)
# What goes without saying.
_IMPLIED = {"lora": ("use_peft",), "qlora": ("use_peft", "load_in_4bit")}


class Sheet:
    """Made for one request. Everything is worked out when it is first asked for."""

    def __init__(self, draft: Draft, user: Any) -> None:
        self.draft = draft
        self.user = user  # serializers ask their request for it

    # --- What was chosen -------------------------------------------------------------------------

    @cached_property
    def model(self) -> BaseModel | None:
        found: BaseModel | None = self._chosen(BaseModel, "base_model_id")
        return found

    @cached_property
    def dataset(self) -> Dataset | None:
        found: Dataset | None = self._chosen(Dataset, "dataset_id")
        return found

    @cached_property
    def recipe(self) -> Recipe | None:
        found: Recipe | None = self._chosen(Recipe, "recipe_id")
        return found

    def _chosen(self, rows: Any, path: str) -> Any:
        """Whatever was deleted since, or cannot be seen any more, is not chosen."""
        try:
            pk = UUID(str(self.draft.answers.get(path)))
        except ValueError:
            return None
        return rows.objects.visible_to(self.user).filter(pk=pk).first()

    @property
    def _rows(self) -> dict[str, Any] | None:
        rows = {"base_model": self.model, "dataset": self.dataset, "recipe": self.recipe}
        return rows if all(rows.values()) else None

    def asks(self, path: str) -> bool:
        """Is there such a setting, the way that was chosen?"""
        section, _, name = path.partition(".")
        if self.recipe is None or section not in ("train", "lora"):
            return True
        of_method = spec.METHODS[self.recipe.method].settings
        if section == "lora":
            return "use_peft" in of_method
        implied = _IMPLIED.get(self.recipe.method, ())
        return name not in implied and (name not in _OF_SOME or name in of_method)

    # --- What was said ---------------------------------------------------------------------------

    @cached_property
    def said(self) -> dict[str, str]:
        """By dotted name, as typed. Not what the chosen style has no use for: it is kept in the
        draft, for whoever goes back to another one."""
        return {
            path: text
            for path, text in self.draft.answers.items()
            if path in ASKED and path not in REVIEWED and text and self.asks(path)
        }

    @cached_property
    def _read(self) -> tuple[dict[str, Any], dict[str, str]]:
        """What was said as the API understands it, and what it refuses."""
        body = nested({path: fields.typed(path, text) for path, text in self.said.items()})
        serializer = PlanSerializer(data=body, partial=True, context={"request": self})
        if serializer.is_valid():
            return _without_empty(serializer.validated_data), {}
        refused = flatten(serializer.errors)
        return {}, {re.sub(r"\[\d+\]", "", path): text for path, text in refused.items()}

    # --- What follows ----------------------------------------------------------------------------

    @cached_property
    def partition(self) -> Partition:
        return checking.partition_of(self._read[0].get("resources", {}))

    @cached_property
    def devices(self) -> list[Device]:
        """Of the partition, with whoever holds them."""
        return list(Device.objects.filter(worker__partition=self.partition))

    @cached_property
    def _machines(self) -> dict[str, Any]:
        """Partition, GPUs and kind of card, all that others depend on."""
        said = self._read[0].get("resources", {})
        kept = {k: said[k] for k in ("partition_id", "gpu_type") if said.get(k)}
        has_cards = any(device.kind == Device.Kind.CUDA for device in self.devices)
        return {**kept, "gpus": said.get("gpus", 1 if has_cards else 0)}

    @cached_property
    def suggested(self) -> dict[str, Suggestion]:
        rows = self._rows
        if rows is None:
            return {}
        cards = [device for device in self.devices if device.kind == Device.Kind.CUDA]
        found = suggestions(
            rows["base_model"], rows["dataset"], rows["recipe"], self._machines, cards
        )
        return {path: one for path, one in found.items() if self.asks(path)}

    @cached_property
    def defaults(self) -> dict[str, str]:
        """What holds where nothing is said, by dotted name, as one would type it."""
        found = self.dataset.columns if self.dataset else {}
        columns = {f"columns.{name}": column for name, column in found.items()}
        always = {"name": self.title[:200], "start": fields.YES, **columns}
        rows = self._rows
        if rows is None:
            return always
        suggested = nested({path: one.value for path, one in self.suggested.items()})
        gpus = 1 if any(d.kind == Device.Kind.CUDA for d in self.devices) else 0
        resources = {"strategy": "ddp", "mixed_precision": "no", **self._machines, "gpus": gpus}
        resources |= suggested.get("resources", {})
        resources["partition_id"] = str(checking.partition_of({}).pk)
        resources.pop("gpu_type", None)
        whole = judging.complete({**rows, **suggested, "resources": resources})
        sections = ("train", "lora", "resources", "eval")
        lora = whole["lora"] or _plain_lora(rows["recipe"])
        flat = {
            f"{section}.{name}": fields.shown(value)
            for section in sections
            for name, value in (lora if section == "lora" else whole[section]).items()
        }
        return {**flat, "export": fields.shown(whole["export"]), **always}

    def why(self, path: str) -> str:
        """Where the default comes from."""
        if path in self.suggested:
            return self.suggested[path].why
        section, _, name = path.partition(".")
        if self.recipe is not None and name in self.recipe.defaults.get(section, {}):
            return f"From the recipe {self.recipe}."
        if path == "train.max_length" and self.model is not None and self.model.context_length:
            return f"The model reads {self.model.context_length:,} tokens."
        return ""

    def value(self, path: str) -> str:
        """What was typed, else what holds."""
        text: str = self.draft.answers.get(path, "")
        return text or self.defaults.get(path, "")

    # --- The whole -------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the API is told beside the three ids: what was said over what is suggested."""
        suggested = nested({path: one.value for path, one in self.suggested.items()})
        said = self._read[0]
        sections = {
            name: {**suggested.get(name, {}), **said.get(name, {})}
            for name in ("train", "lora", "columns", "eval")
        }
        resources = {**suggested.get("resources", {}), **said.get("resources", {})}
        if sections["columns"]:
            sections["columns"] = self.columns
        sections["resources"] = {**resources, "gpus": self._machines["gpus"]}
        found = {name: values for name, values in sections.items() if values}
        return {**found, "export": said["export"]} if said.get("export") else found

    @cached_property
    def _completed(self) -> tuple[dict[str, Any] | None, dict[str, str]]:
        refused = self._read[1]
        rows = self._rows
        if refused or rows is None:
            return None, refused
        try:
            return judging.complete({**rows, **self.settings}), {}
        except spec.BadSpec as error:  # beyond the serializer's ranges, such as "nan"
            name, _, problem = str(error).partition(": ")
            return None, {f"train.{name}": problem}

    @property
    def plan(self) -> dict[str, Any] | None:
        """As `judging.complete` gives it; None where something is missing or refused."""
        return self._completed[0]

    @property
    def errors(self) -> dict[str, str]:
        """What the API refuses, by dotted name."""
        return self._completed[1]

    @cached_property
    def report(self) -> preflight.Report | None:
        if self.plan is None:
            return None
        return judging.judge(self.plan, self.draft.project)

    @cached_property
    def experiment(self) -> preflight.Experiment | None:
        """For its counts alone: steps, and rows in one forward pass."""
        if self.plan is None:
            return None
        train: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in self.plan["train"].items()
        }
        return preflight.Experiment(
            model=checking.model_facts(self.plan["base_model"]),
            dataset=checking.dataset_facts(self.plan["dataset"], self.plan["columns"]),
            recipe=checking.recipe_facts(self.plan["recipe"]),
            train=preflight.TrainSpec(**train),
            resources=preflight.Resources(gpus=self.plan["resources"]["gpus"]),
        )

    @cached_property
    def problems(self) -> dict[str, list[str]]:
        """What stands in the way, by step; a step without any is not in it."""
        found: dict[str, list[str]] = {name: [] for name in NAMES}
        found["model"] = self._model_problems()
        found["data"] = self._data_problems()
        found["style"] = self._style_problems()
        for path, problem in self.errors.items():
            found[step_of(path)].append(f"{ASKED[path].label}: {problem}")
        if self.report is not None:
            found["preflight"] = [error.removeprefix("ERROR: ") for error in self.report.errors]
        elif not any(found.values()):
            found["preflight"] = ["There is no estimate."]
        return {name: problems for name, problems in found.items() if problems}

    def _model_problems(self) -> list[str]:
        if self.model is None:
            return ["Choose a base model."]
        return choices.model_problems(self.model)

    def _data_problems(self) -> list[str]:
        if self.dataset is None:
            return ["Choose a dataset."]
        if self.model is None:
            return []
        return choices.data_choice(self.dataset, self.model).problems

    def _style_problems(self) -> list[str]:
        if self.recipe is None:
            return ["Choose a training style."]
        if self.model is None or self.dataset is None:
            return []
        return choices.style_choice(self.recipe, self.model, self.dataset, self.columns).problems

    @property
    def columns(self) -> dict[str, str]:
        """Those that were said over those that the doctor found."""
        found = self.dataset.columns if self.dataset else {}
        return {**found, **self._read[0].get("columns", {})}

    @property
    def title(self) -> str:
        """ "LoRA of tiny-llama on dates 1.0", as far as it is known."""
        what = str(self.recipe or "A new job")
        of = f" of {self.model}" if self.model else ""
        on = f" on {self.dataset}" if self.dataset else ""
        return f"{what}{of}{on}"[:300]

    # --- Where one is ----------------------------------------------------------------------------

    @property
    def first_open(self) -> str:
        """The first step that nobody has gone through."""
        return next((name for name in NAMES if name not in self.draft.done), NAMES[-1])

    def is_reachable(self, step: str) -> bool:
        return NAMES.index(step) <= NAMES.index(self.first_open)

    def states(self, current: str) -> list[dict[str, Any]]:
        """For the list of steps: done, wrong or open, and whether one can go there."""
        return [
            {
                "step": BY_NAME[name],
                "number": number,
                "current": name == current,
                "reachable": self.is_reachable(name),
                "done": name in self.draft.done,
                "wrong": name in self.draft.done and name in self.problems,
            }
            for number, name in enumerate(NAMES, 1)
        ]


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """``{"train.seed": 1, "export": []}`` is ``{"train": {"seed": 1}, "export": []}``."""
    body: dict[str, Any] = {}
    for path, value in flat.items():
        section, _, name = path.partition(".")
        if name:
            body.setdefault(section, {})[name] = value
        else:
            body[section] = value
    return body


def _without_empty(plan: dict[str, Any]) -> dict[str, Any]:
    """Null means "as it comes" everywhere in a body, which is to leave it out."""
    return {section: _given(part) for section, part in plan.items()}


def _given(part: Any) -> Any:
    return {k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else part


def _plain_lora(recipe: Recipe) -> dict[str, Any]:
    """Of an adapter that is not trained unless somebody says so."""
    return asdict(spec.LoraSpec(**recipe.defaults.get("lora", {})))
