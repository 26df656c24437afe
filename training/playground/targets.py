"""What can be tried: a base model, what was made of one, or the result of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from registry import code_reviews
from registry.models import Adapter, BaseModel, Modality
from training.models import Job, Status
from training.trainer import spec

# The methods whose results say something, rather than choose a label.
WRITING = tuple(
    name for name, facts in spec.METHODS.items() if not name.endswith("_classification")
)
# How Transformers ends the names of what does not write text.
_LABELS = ("ForSequenceClassification", "ForImageClassification", "ForTokenClassification")


class CannotTry(ValueError):
    """This does not answer prompts; the message says why."""


@dataclass(frozen=True)
class Target:
    """``tuned`` is None where a base model alone is tried, and where nobody knows any more what a
    model was made from."""

    base_model: BaseModel
    tuned: Adapter | BaseModel | None = None
    job: Job | None = None

    @property
    def what(self) -> Adapter | BaseModel:
        return self.tuned or self.base_model

    @property
    def can_compare(self) -> bool:
        return self.tuned is not None

    @property
    def has_chat_template(self) -> bool | None:
        """None where nobody has looked."""
        model = self.tuned if isinstance(self.tuned, BaseModel) else self.base_model
        known: bool | None = model.inspection.get("has_chat_template")
        return known


def of_model(model: BaseModel, user: Any) -> Target:
    """Raises CannotTry."""
    _check(model)
    base = visible(BaseModel, user, model.metadata.get("base_model_id"))
    job = visible(Job, user, model.metadata.get("job_id"))
    return Target(base, model, job) if base else Target(model, job=job)


def of_adapter(adapter: Adapter, user: Any) -> Target:
    """Raises CannotTry."""
    if adapter.method not in WRITING:
        raise CannotTry(f"{adapter} chooses labels; it does not answer prompts.")
    if not adapter.storage_path:
        raise CannotTry(f"There are no files of {adapter}.")
    _check(adapter.base_model)
    return Target(adapter.base_model, adapter, visible(Job, user, adapter.metadata.get("job_id")))


def of_job(job: Job, user: Any) -> Target:
    """What the job has made. Raises CannotTry."""
    if job.status != Status.COMPLETED or job.result is None:
        raise CannotTry(f"Job '{job}' is {job.status}; only what a finished job has made answers.")
    made = of_result(job.result, user)
    if made is None:
        raise CannotTry(f"What job '{job}' has made is not there any more.")
    return of_adapter(made, user) if isinstance(made, Adapter) else of_model(made, user)


def of_result(result: dict[str, Any], user: Any) -> Adapter | BaseModel | None:
    kind = Adapter if result["kind"] == "adapter" else BaseModel
    found: Adapter | BaseModel | None = visible(kind, user, result["id"])
    return found


def visible(model: Any, user: Any, pk: Any) -> Any:
    """None where it is gone, or is nothing that this user may see."""
    return _by_id(model.objects.visible_to(user), pk)


def four_bit(adapter: Adapter) -> bool:
    """Whether its base model was held in four bits while it was trained."""
    if adapter.method == "qlora":
        return True
    job = _by_id(Job.objects.select_related("experiment"), adapter.metadata.get("job_id"))
    return bool(job and job.experiment.train.get("load_in_4bit"))


def _by_id(rows: Any, pk: Any) -> Any:
    try:
        return rows.filter(pk=pk).first() if pk else None
    except ValidationError:  # metadata are anybody's words
        return None


def _check(model: BaseModel) -> None:
    if model.modality not in (Modality.TEXT, Modality.MULTIMODAL):
        raise CannotTry(f"{model} is a model of {model.get_modality_display().lower()}s.")
    if model.architecture.endswith(_LABELS):
        raise CannotTry(f"{model} chooses labels; it does not answer prompts.")
    if model.is_gguf:
        raise CannotTry(
            f"{model} is a GGUF file, which llama.cpp runs and the playground does not."
        )
    if not model.servable:
        raise CannotTry(f"{model} is marked as not servable.")
    if not model.storage_path:
        raise CannotTry(f"There are no files of {model}.")
    if model.status == BaseModel.Status.BROKEN:
        raise CannotTry(f"{model} is broken: {model.why_broken}")
    if reason := code_reviews.refusal(model):
        raise CannotTry(reason)
