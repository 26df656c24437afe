"""Home, the job list, a job's page, and its buttons."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Project, User
from tests import factories as make
from tests.pages import Page
from training.models import Job, Status

FRAGMENT = {"HX-Request": "true"}


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def page_of(ana: User) -> Any:
    """``page_of("/jobs")``: a page as Ana sees it, parsed and checked."""

    def get(address: str, status: int = 200) -> Page:
        response = signed_in(ana).get(address)
        assert response.status_code == status
        page = Page(response)
        page.check_outline()
        return page

    return get


# --- Home ----------------------------------------------------------------------------------------


def test_home_of_an_empty_yard_says_how_to_begin(page_of: Any) -> None:
    page = page_of("/")
    assert "make demo" in page.words
    assert "/api/jobs" in page.words


def test_home_shows_what_runs_and_what_happened(page_of: Any) -> None:
    running = make.make_job(status=Status.RUNNING, name="at work")
    make.make_metrics(running, [3.0, 2.5, 2.0])
    make.make_job(status=Status.QUEUED, name="in line", waiting_reason="Waits for the CPU.")
    make.make_job(status=Status.COMPLETED, name="done long ago")
    make.make_activity(title="Training started: at work")
    page = page_of("/")
    assert "3 of 100 steps · 24 s left" in page.words
    assert "Waits for the CPU." in page.words
    assert "Training started: at work" in page.words
    assert "done long ago" not in page.words
    assert [line["points"] for line in page.all("polyline")] == ["0.0,2.0 60.0,14.0 120.0,26.0"]


def test_home_says_which_machines_are_alive(page_of: Any) -> None:
    job = make.make_job(status=Status.RUNNING, name="at work")
    make.make_lease(job, make.make_worker("fresh").devices.get())
    make.make_worker("silent", seen_at=timezone.now() - timedelta(hours=2))
    page = page_of("/")
    assert "fresh alive CPU 15.6 GiB at work" in page.words
    assert "silent last heard of 2 h ago" in page.words


def test_home_does_not_name_the_jobs_of_others(stranger: User) -> None:
    job = make.make_job(status=Status.RUNNING, name="a secret")
    make.make_lease(job, make.make_worker().devices.get())
    page = Page(signed_in(stranger).get("/"))
    assert "a secret" not in page.words
    assert "in use" in page.words


def test_home_asks_the_same_number_of_questions_however_much_runs(
    ana: User, django_assert_num_queries: Any
) -> None:
    client = signed_in(ana)
    for _ in range(2):
        job = make.make_job(status=Status.RUNNING)
        make.make_metrics(job, [2.0, 1.0])
        make.make_lease(job, make.make_worker().devices.get())
        make.make_activity()
        with django_assert_num_queries(13):
            client.get("/")


# --- The list ------------------------------------------------------------------------------------


def test_the_list_of_no_jobs_says_how_to_begin(page_of: Any) -> None:
    assert "make demo" in page_of("/jobs").words


def test_the_list_filters_by_status_and_searches(page_of: Any) -> None:
    make.make_job(status=Status.COMPLETED, name="apples")
    make.make_job(status=Status.FAILED, name="pears")
    model = make.make_model(name="orchard-7b")
    make.make_job(name="plums", experiment=make.make_experiment(base_model=model))

    def shown(query: str) -> set[str]:
        words = page_of(f"/jobs?{query}").words
        return {name for name in ("apples", "pears", "plums") if name in words}

    assert shown("") == {"apples", "pears", "plums"}
    assert shown("status=FAILED") == {"pears"}
    assert shown("q=APPL") == {"apples"}
    assert shown("q=orchard") == {"plums"}
    assert shown(f"model={model.pk}") == {"plums"}
    assert shown("status=FAILED&q=apples") == set()


@pytest.mark.parametrize("query", ["status=SLEEPING", "model=7", "dataset=x"])
def test_a_filter_that_does_not_exist_is_a_bad_request(ana: User, query: str) -> None:
    response = signed_in(ana).get(f"/jobs?{query}")
    assert response.status_code == 400
    Page(response).check_outline()


def test_the_list_has_pages_and_they_keep_the_filter(page_of: Any) -> None:
    experiment = make.make_experiment()
    for _ in range(26):
        make.make_job(status=Status.COMPLETED, experiment=experiment)
    first = page_of("/jobs?status=COMPLETED")
    assert "Page 1 of 2" in first.words
    (following,) = [a["href"] for a in first.all("a") if a.get("rel") == "next"]
    assert following == "/jobs?status=COMPLETED&page=2"
    assert len(page_of(following).all("tr")) == 2


def test_htmx_gets_the_rows_without_the_page_around_them(ana: User) -> None:
    make.make_job(name="apples")
    html = signed_in(ana).get("/jobs", headers=FRAGMENT).content.decode()
    assert "apples" in html
    assert "<html" not in html


def test_the_list_asks_the_same_number_of_questions_however_long_it_is(
    ana: User, django_assert_num_queries: Any
) -> None:
    client = signed_in(ana)
    for _ in range(2):
        make.make_job(status=Status.RUNNING, worker=make.make_worker())
        with django_assert_num_queries(7):
            client.get("/jobs")


# --- One job -------------------------------------------------------------------------------------


def test_a_running_job_shows_where_it_stands(page_of: Any) -> None:
    job = make.make_job(status=Status.RUNNING, worker=make.make_worker("yard"))
    make.make_metrics(job, [3.0, 2.0, 1.5])
    make.make_event(job, "checkpoint", step=3, message="Checkpoint of step 3.")
    make.make_checkpoint(job, 3)
    page = page_of(f"/jobs/{job.pk}")
    assert "3 % 3.0 % 3 of 100 steps · 24 s left" in page.words
    assert "Loss 1.5" in page.words
    assert "Tokens per second 2,400" in page.words
    assert "Memory 812 MiB" in page.words
    assert "Checkpoint of step 3." in page.words
    assert "Step 3 45.8 MiB · just now" in page.words
    (root,) = [attrs for _, attrs in page.tags if attrs.get("id") == "job"]
    assert root["data-cursor"] == "4"


def test_without_scripts_the_curve_is_a_drawing_and_a_table(page_of: Any) -> None:
    job = make.make_job(status=Status.COMPLETED)
    make.make_metrics(job, [3.0, 2.0])
    page = page_of(f"/jobs/{job.pk}")
    loss, *others = [line["points"] for line in page.all("polyline")]
    assert loss == "0.0,2.0 720.0,238.0"
    assert len(others) == 3  # learning rate, throughput, memory
    assert "1 3 0.0002 2,400 812 MiB 2 2 0.0002 2,400 812 MiB" in page.words


def test_a_failed_job_says_why_and_what_to_do(page_of: Any) -> None:
    page = page_of(f"/jobs/{make.make_job(status=Status.FAILED).pk}")
    assert make.OUT_OF_MEMORY["message"] in page.words
    assert make.OUT_OF_MEMORY["advice"] in page.words
    assert "out_of_memory" in page.words


def test_a_queued_job_says_why_it_waits(page_of: Any) -> None:
    job = make.make_job(status=Status.QUEUED, waiting_reason="Waits for 2 GPUs.")
    assert "Waits for 2 GPUs." in page_of(f"/jobs/{job.pk}").words


def test_a_finished_job_leads_to_what_it_made(page_of: Any) -> None:
    evaluation = {
        "before": {"step": 0, "exact_match": 0.02},
        "after": {"step": 100, "exact_match": 0.96},
    }
    adapter = make.make_adapter()
    made = {"kind": "adapter", "id": str(adapter.pk), "name": adapter.name}
    job = make.make_job(status=Status.COMPLETED, evaluation=evaluation, result=made)
    base = job.experiment.base_model
    made_file = make.make_artifact(job, "/exports/adapter_model.safetensors")
    page = page_of(f"/jobs/{job.pk}")
    links = {a["href"] for a in page.all("a")}
    assert {f"/models/{adapter.pk}", f"/models/{base.pk}"} <= links
    assert f"/datasets/{job.experiment.dataset_id}" in links
    assert "exact match 0.02 0.96" in page.words
    assert "adapter_model.safetensors model 000000000000… 15.3 MiB in /exports" in page.words
    assert f"/api/jobs/{job.pk}/artifacts/{made_file.pk}/download" in links


def test_the_exact_configuration_is_shown(page_of: Any) -> None:
    train = {"max_steps": 7, "learning_rate": 3e-5, "packing": False}
    job = make.make_job(experiment=make.make_experiment(train=train))
    words = page_of(f"/jobs/{job.pk}").words
    assert "learning_rate 3e-05 max_steps 7 packing false" in words


def test_the_end_of_the_log_is_shown(page_of: Any, home: Path) -> None:
    job = make.make_job(status=Status.RUNNING)
    folder = home / "runs" / str(job.pk)
    folder.mkdir()
    lines = [f"line {n} <b>" for n in range(5000)]
    (folder / "log.txt").write_text("\n".join(lines) + "\n")
    page = page_of(f"/jobs/{job.pk}")
    assert "line 4999 <b>" in page.text
    assert "line 0 " not in page.text
    (log,) = [attrs for _, attrs in page.tags if attrs.get("id") == "log"]
    assert log["data-offset"] == str((folder / "log.txt").stat().st_size)
    first = page.text.index("line ")
    assert page.text[first:].split("\n")[0] in lines


def test_a_script_gets_only_the_parts_that_change(ana: User) -> None:
    job = make.make_job(status=Status.RUNNING)
    html = signed_in(ana).get(f"/jobs/{job.pk}", headers=FRAGMENT).content.decode()
    parts = {"status", "actions", "state", "timeline", "outcome"}
    assert {part for part in parts if f'data-live="{part}"' in html} == parts
    assert "<html" not in html
    assert "<canvas" not in html


def test_the_page_asks_the_same_number_of_questions_however_much_happened(
    ana: User, django_assert_num_queries: Any
) -> None:
    client = signed_in(ana)
    job = make.make_job(status=Status.RUNNING, owner=ana, worker=make.make_worker())
    for n in range(2):
        make.make_metrics(job, [2.0, 1.0], first_step=1 + 2 * n)
        make.make_event(job, "checkpoint", step=n)
        make.make_checkpoint(job, n)
        make.make_artifact(job, f"file-{n}")
        with django_assert_num_queries(11):
            client.get(f"/jobs/{job.pk}")


def test_a_stranger_finds_no_job(stranger: User) -> None:
    job = make.make_job(name="a secret", status=Status.RUNNING)
    client = signed_in(stranger)
    response = client.get(f"/jobs/{job.pk}")
    assert response.status_code == 404
    Page(response).check_outline()
    assert "a secret" not in client.get("/jobs").content.decode()
    assert client.post(f"/jobs/{job.pk}/cancel").status_code == 404


@pytest.mark.parametrize("address", ["/", "/jobs", f"/jobs/{uuid.UUID(int=1)}"])
def test_in_server_mode_one_signs_in_first(
    client: Client, db: None, address: str, settings: Any
) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "LocalOwner" not in name]
    response = client.get(address)
    assert response.status_code == 302
    assert response["Location"] == f"/login?next={address}"


# --- Buttons -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        (Status.PENDING, {"start", "cancel", "delete"}),
        (Status.QUEUED, {"pause", "cancel"}),
        (Status.RUNNING, {"pause", "cancel"}),
        (Status.PAUSING, {"cancel"}),
        (Status.PAUSED, {"resume", "cancel"}),
        (Status.COMPLETED, {"delete"}),
        (Status.FAILED, {"fix", "retry", "delete"}),
        (Status.CANCELLED, {"retry", "delete"}),
    ],
)
def test_a_job_has_the_buttons_that_its_state_allows(
    page_of: Any, status: str, verbs: set[str]
) -> None:
    job = make.make_job(status=status)
    page = page_of(f"/jobs/{job.pk}")
    start = f"/jobs/{job.pk}/"
    actions = [str(form.get("action")) for form in page.all("form")]
    assert {a.removeprefix(start) for a in actions if a.startswith(start)} == verbs


@pytest.mark.parametrize(
    ("status", "verb", "after"),
    [
        (Status.PENDING, "start", Status.QUEUED),
        (Status.QUEUED, "pause", Status.PAUSED),
        (Status.PAUSED, "resume", Status.QUEUED),
        (Status.FAILED, "retry", Status.QUEUED),
        (Status.QUEUED, "cancel", Status.CANCELLED),
    ],
)
def test_a_button_does_what_it_says(ana: User, status: str, verb: str, after: str) -> None:
    job = make.make_job(status=status)
    response = signed_in(ana).post(f"/jobs/{job.pk}/{verb}", follow=True)
    assert response.redirect_chain == [(f"/jobs/{job.pk}", 302)]
    assert len([p for p in Page(response).all("p") if p.get("class") == "notice"]) >= 1
    assert Job.objects.get(pk=job.pk).status == after


def test_cancelling_a_running_job_asks_its_trainer_and_says_so(ana: User) -> None:
    job = make.make_job(status=Status.RUNNING)
    response = signed_in(ana).post(f"/jobs/{job.pk}/cancel", follow=True)
    page = Page(response)
    assert "Cancelling" in page.words
    assert page.forms_to(f"/jobs/{job.pk}/cancel") == []
    job.refresh_from_db()
    assert job.status == Status.RUNNING
    assert job.cancel_requested_at is not None


def test_a_button_that_comes_too_late_changes_nothing_and_says_why(ana: User) -> None:
    job = make.make_job(status=Status.COMPLETED, name="done")
    response = signed_in(ana).post(f"/jobs/{job.pk}/cancel")
    assert response.status_code == 409
    assert "Job 'done' is COMPLETED and cannot become CANCELLED." in Page(response).words
    assert Job.objects.get(pk=job.pk).status == Status.COMPLETED


def test_a_viewer_sees_the_job_but_no_buttons(viewer: User) -> None:
    job = make.make_job(status=Status.RUNNING)
    client = signed_in(viewer)
    page = Page(client.get(f"/jobs/{job.pk}"))
    assert page.forms_to(f"/jobs/{job.pk}/cancel") == []
    refused = client.post(f"/jobs/{job.pk}/cancel")
    assert refused.status_code == 403
    Page(refused).check_outline()
    job.refresh_from_db()
    assert job.cancel_requested_at is None


def test_a_button_needs_a_post_and_the_token_of_a_form(ana: User) -> None:
    job = make.make_job(status=Status.QUEUED)
    assert signed_in(ana).get(f"/jobs/{job.pk}/cancel").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ana)
    assert strict.post(f"/jobs/{job.pk}/cancel").status_code == 403
    assert Job.objects.get(pk=job.pk).status == Status.QUEUED


def test_a_verb_that_does_not_exist_is_not_found(ana: User) -> None:
    job = make.make_job()
    assert signed_in(ana).post(f"/jobs/{job.pk}/explode").status_code == 404


def test_a_member_of_another_project_too_sees_only_what_is_theirs(ana: User) -> None:
    other = Project.objects.create(name="Second")
    Membership.objects.create(project=other, user=ana)
    third = Project.objects.create(name="Third")
    make.make_job(project=other, name="second job")
    make.make_job(project=third, name="third job")
    words = Page(signed_in(ana).get("/jobs")).words
    assert "second job" in words
    assert "third job" not in words
