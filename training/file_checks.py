"""Before a run begins: are the files that it will read those that were registered?"""

from __future__ import annotations

from collections.abc import Callable

from registry import code_reviews, verification
from registry.models import BaseModel, Dataset
from training.models import Job, Status
from training.progress import take_over
from training.trainer.result import Failure

MOST_NAMED = 3


class Interrupted(Exception):
    """Somebody wants the job to stop before it has begun."""


def refusal(job: Job, attempt: int, going_down: Callable[[], bool]) -> Failure | None:
    """Why the job cannot run, None where it can. Files that look untouched are not read again.

    Keeps the job's lease while it reads. Raises Interrupted, Fenced.
    """

    def meanwhile() -> None:
        take_over(job, attempt, [], None)
        if going_down() or job.cancel_requested_at is not None or job.status == Status.PAUSING:
            raise Interrupted

    experiment = job.experiment
    for entry in (experiment.base_model, experiment.dataset):
        if found := verification.verify(entry, meanwhile=meanwhile):
            return _changed(entry, found)
    if reason := code_reviews.refusal(experiment.base_model):
        advice = "Have the code approved, or choose another base model; then retry the job."
        return Failure(kind="bad_model", message=reason, advice=advice)
    return None


def _changed(entry: BaseModel | Dataset, found: list[str]) -> Failure:
    if isinstance(entry, BaseModel) and (failed := entry.failed_check):
        return Failure(
            kind="bad_model",
            message=f"Model '{entry.name}' could not be checked. {failed['message']}",
            advice=f"{failed['fix']} When it is active again, retry the job.",
        )
    more = f" And {len(found) - MOST_NAMED} more." if len(found) > MOST_NAMED else ""
    is_model = isinstance(entry, BaseModel)
    return Failure(
        kind="bad_model" if is_model else "bad_data",
        message=f"The files of {'model' if is_model else 'dataset'} '{entry.name}' are not those "
        f"that were registered. {' '.join(found[:MOST_NAMED])}{more}",
        advice="Put the files back and retry the job, or register what is there now as a model of "
        "its own."
        if is_model
        else "Put the files back, or check the dataset again, and retry the job.",
    )
