"""A probe from the preflight step: asked for, watched, cancelled, and its answer on the page."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from tests import factories as make
from tests.pages import Page
from tests.training.wizard.conftest import Walker
from training import lifecycle
from training.models import Experiment, Job, Probe, Status

pytestmark = pytest.mark.django_db
Answers = dict[str, dict[str, Any]]


@pytest.fixture
def asked(walker: Walker, answers: Answers) -> Walker:
    """A probe is in the queue."""
    make.make_worker()
    walker.walk_to("preflight", answers)
    assert "Run a probe" in walker.see("preflight").words
    response = walker.client.post(f"/jobs/new/{walker.draft_id}/probe")
    assert response["Location"] == walker.at("preflight")
    return walker


def ended(probe: Probe, outcome: str, **fields: Any) -> None:
    Probe.objects.filter(pk=probe.pk).update(
        outcome=outcome, job=None, finished_at=timezone.now(), **fields
    )


def measured(probe: Probe) -> dict[str, Any]:
    report = {**probe.preflight, "time_per_step_ms": 250.0, "total_time_s": 4321.0}
    return {
        "out_of_memory": False,
        "peak_memory_mb": 1536.0,
        "step_time_ms": 250.0,
        "longest_step_time_ms": 400.0,
        "tokens_per_second": 900.0,
        "report": report,
    }


def test_one_sees_how_far_it_is(asked: Walker) -> None:
    probe = Probe.objects.get()
    assert probe.job is not None
    lifecycle.tell(probe.job, "plan", message="50 steps to go.")
    page = asked.see("preflight")
    assert "queued 50 steps to go." in page.words
    assert page.forms_to(f"/jobs/new/{asked.draft_id}/probe") == []
    [state] = [attrs for _, attrs in page.tags if attrs.get("id") == "probe-state"]
    assert state["hx-get"] == asked.at("preflight")
    response = asked.client.get(asked.at("preflight"), headers={"HX-Request": "true"})
    assert 'id="probe-state"' in response.content.decode()
    assert "HX-Refresh" not in response
    assert not Job.objects.visible_to(asked.user).exists()


def test_what_it_has_measured_is_worked_into_the_page(asked: Walker) -> None:
    probe = Probe.objects.get()
    ended(probe, Probe.Outcome.MEASURED, result=measured(probe))
    polled = asked.client.get(asked.at("preflight"), headers={"HX-Request": "true"})
    assert polled["HX-Refresh"] == "true"
    page = asked.see("preflight")
    assert "1.5 GiB" in page.words
    assert "Measured of these very settings" in page.words
    assert "In all 1 h 12 min" in page.words
    assert "Probe again" in page.words


def test_other_settings_take_the_estimate_again(asked: Walker) -> None:
    probe = Probe.objects.get()
    ended(probe, Probe.Outcome.MEASURED, result=measured(probe))
    asked.say("settings", {"train.max_steps": "20", "train.global_batch_size": "4"})
    page = asked.see("preflight")
    assert "they were changed since" in page.words
    assert "In all 1 h 12 min" not in page.words


@pytest.mark.parametrize(
    ("outcome", "fields", "words"),
    [
        (
            Probe.Outcome.OUT_OF_MEMORY,
            {"result": {"out_of_memory": True, "message": "No room.", "report": None}},
            "It ran out of memory . No room.",
        ),
        (
            Probe.Outcome.FAILED,
            {"failure": {"kind": "bad_data", "message": "No rows.", "advice": "Add some."}},
            "No rows. Add some.",
        ),
        (Probe.Outcome.CANCELLED, {}, "It was cancelled."),
    ],
)
def test_how_else_it_can_end(
    asked: Walker, outcome: str, fields: dict[str, Any], words: str
) -> None:
    ended(Probe.objects.get(), outcome, **fields)
    page = asked.see("preflight")
    assert words.replace(" .", ".") in page.words.replace(" .", ".")
    assert "Probe again" in page.words


def test_it_is_cancelled(asked: Walker) -> None:
    response = asked.client.post(f"/jobs/new/{asked.draft_id}/probe/cancel")
    assert response.status_code == 302
    assert Probe.objects.get().outcome == Probe.Outcome.CANCELLED
    asked.client.post(f"/jobs/new/{asked.draft_id}/probe/cancel")
    assert "It was cancelled." in asked.see("preflight").words


def test_one_at_a_time(asked: Walker) -> None:
    response = asked.client.post(f"/jobs/new/{asked.draft_id}/probe", follow=True)
    assert "A probe is under way already." in Page(response).words
    assert Probe.objects.count() == 1


def test_what_cannot_run_is_not_probed(walker: Walker, answers: Answers) -> None:
    walker.walk_to("preflight", {**answers, "settings": {"train.max_steps": "none"}})
    response = walker.client.post(f"/jobs/new/{walker.draft_id}/probe", follow=True)
    assert "The settings have to be right first." in Page(response).words
    assert not Probe.objects.exists()


def test_nobody_elses_draft_is_probed(asked: Walker, bob: User) -> None:
    other = Client()
    other.force_login(bob)
    for verb in ("probe", "probe/cancel", "anew"):
        assert other.post(f"/jobs/new/{asked.draft_id}/{verb}").status_code == 404
    probe = Probe.objects.get()
    assert probe.job is not None
    assert probe.job.status == Status.QUEUED
    assert Experiment.objects.count() == 1
