"""Several jobs beside each other."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import User
from tests import factories as make
from tests.pages import Page
from training.models import Experiment, Job, Status

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(ana: User) -> Client:
    client = Client()
    client.force_login(ana)
    return client


def a_job(rate: float, losses: list[float], **fields: Any) -> Job:
    train = {"max_steps": 100, "global_batch_size": 8, "learning_rate": rate}
    job = make.make_job(
        status=Status.COMPLETED, experiment=make.make_experiment(train=train), **fields
    )
    make.make_metrics(job, losses)
    make.make_event(job, "evaluation", step=len(losses), eval_loss=losses[-1])
    return job


def look(client: Client, *jobs: Job, more: str = "") -> Page:
    query = "&".join(f"job={job.pk}" for job in jobs)
    response = client.get(f"/jobs/compare?{query}{more}")
    assert response.status_code == 200
    page = Page(response)
    page.check_outline()
    return page


def test_what_differs_is_shown_and_the_rest_on_request(client: Client) -> None:
    jobs = a_job(1e-4, [3.0, 2.0], name="slow"), a_job(3e-4, [3.0, 1.0], name="fast")
    page = look(client, *jobs)
    assert "train.learning_rate 0.0001 0.0003" in page.words
    assert "train.global_batch_size" not in page.words
    assert "are alike" in page.words
    everything = look(client, *jobs, more="&all=1")
    assert "train.global_batch_size 8 8" in everything.words


def test_the_best_of_each_number_is_marked(client: Client) -> None:
    worse = a_job(1e-4, [2.0], evaluation={"after": {"eval_loss": 2.0, "exact_match": 0.9}})
    better = a_job(1e-4, [1.0], evaluation={"after": {"eval_loss": 1.0, "exact_match": 0.5}})
    page = look(client, worse, better)
    assert "loss 2 1 (best)" in page.words
    assert "exact match 0.9 (best) 0.5" in page.words


def test_the_curves_of_all_are_given_to_the_script_and_drawn(client: Client) -> None:
    jobs = [a_job(1e-4, [3.0, 2.0], name="one"), a_job(1e-4, [4.0, 1.0, 0.5], name="two")]
    query = "&".join(f"job={job.pk}" for job in jobs)
    html = client.get(f"/jobs/compare?{query}").content.decode()
    found = re.search(r'<script id="series" type="application/json">(.*?)</script>', html)
    assert found is not None
    one, two = json.loads(found[1])
    assert (one["name"], one["loss"]) == ("one", [[1, 3.0], [2, 2.0]])
    assert two["eval_loss"] == [[3, 0.5]]
    assert html.count("<polyline") == 2


def test_of_long_runs_there_are_few_points_and_the_last(client: Client) -> None:
    job = a_job(1e-4, [1.0] * 1000)
    html = client.get(f"/jobs/compare?job={job.pk}").content.decode()
    [series] = json.loads(html.split('application/json">')[1].split("</script>")[0])
    assert len(series["loss"]) == 200
    assert series["loss"][-1] == [1000, 1.0]


def test_no_more_questions_for_twenty_than_for_two(
    client: Client, django_assert_num_queries: Any
) -> None:
    jobs = [a_job(1e-4, [1.0, 2.0]) for _ in range(20)]
    for count in (2, 20):
        with django_assert_num_queries(6):
            look(client, *jobs[:count])


def test_without_any_it_says_how_to_choose(client: Client) -> None:
    assert "No job was chosen." in look(client).words


def test_too_many_and_what_is_no_id_are_bad_requests(client: Client) -> None:
    assert client.get("/jobs/compare?job=7").status_code == 400
    many = "&".join(f"job={uuid4()}" for _ in range(21))
    assert client.get(f"/jobs/compare?{many}").status_code == 400


def test_the_jobs_of_others_are_as_if_they_were_not_there(client: Client, stranger: User) -> None:
    mine = a_job(1e-4, [1.0], name="mine")
    theirs = Client()
    theirs.force_login(stranger)
    assert theirs.get(f"/jobs/compare?job={mine.pk}").status_code == 404
    project = stranger.memberships.get().project
    secret = make.make_job(project=project, name="a secret")
    words = look(client, mine, secret).words
    assert "mine" in words
    assert "a secret" not in words


# --- From the list -------------------------------------------------------------------------------


def tick(client: Client, do: str, *jobs: Job, back: str = "/jobs") -> Any:
    ids = [str(job.pk) for job in jobs]
    return client.post("/jobs/bulk", {"do": do, "job": ids, "back": back}, follow=True)


def test_ticked_jobs_are_compared(client: Client) -> None:
    jobs = [a_job(1e-4, [1.0]) for _ in range(2)]
    response = tick(client, "compare", *jobs)
    [(address, _)] = response.redirect_chain
    assert address == f"/jobs/compare?job={jobs[0].pk}&job={jobs[1].pk}"
    assert "2 jobs beside each other" in Page(response).words


@pytest.mark.usefixtures("sent")
def test_ticked_jobs_are_cancelled_and_what_cannot_be_is_named(client: Client) -> None:
    waiting = make.make_job(status=Status.QUEUED, name="waiting")
    done = make.make_job(status=Status.COMPLETED, name="done")
    response = tick(client, "cancel", waiting, done, back="/jobs?status=QUEUED&q=a")
    assert response.redirect_chain == [("/jobs?status=QUEUED&q=a", 302)]
    words = Page(response).words
    assert "'waiting' asked to stop." in words
    assert "Job 'done' is COMPLETED and cannot become CANCELLED." in words
    waiting.refresh_from_db()
    assert waiting.status == Status.CANCELLED


@pytest.mark.usefixtures("sent", "home")
@pytest.mark.parametrize(
    ("do", "status", "after"),
    [
        ("retry", Status.FAILED, Status.QUEUED),
        ("pause", Status.QUEUED, Status.PAUSED),
        ("resume", Status.PAUSED, Status.QUEUED),
        ("delete", Status.FAILED, None),
    ],
)
def test_the_other_deeds(client: Client, do: str, status: str, after: str | None) -> None:
    jobs = [make.make_job(status=status) for _ in range(4)]
    assert "4 " in Page(tick(client, do, *jobs)).words
    left = list(Job.objects.values_list("status", flat=True))
    assert left == ([after] * 4 if after else [])
    assert Experiment.objects.count() == (4 if after else 0)
