"""Where a model comes from, and what has come of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import Project, User
from registry.models import BaseModel
from tests import factories as make
from tests.pages import Page
from training import lineage
from training.models import Job, Status

pytestmark = pytest.mark.django_db


def made_by(job: Job, name: str) -> BaseModel:
    result = make.make_model(name=name, metadata={"job_id": str(job.pk)})
    made = {"kind": "base_model", "id": str(result.pk), "name": name}
    Job.objects.filter(pk=job.pk).update(result=made)
    return result


@pytest.fixture
def family() -> dict[str, Any]:
    """A model, tuned to another, from which two jobs start; one of them has made an adapter."""
    first = make.make_model(name="first")
    job = make.make_job(
        status=Status.COMPLETED, name="tuning", experiment=make.make_experiment(base_model=first)
    )
    second = made_by(job, "second")
    experiment = make.make_experiment(base_model=second)
    further = make.make_job(status=Status.COMPLETED, name="further", experiment=experiment)
    adapter = make.make_adapter(second, name="an adapter")
    made = {"kind": "adapter", "id": str(adapter.pk), "name": "an adapter"}
    Job.objects.filter(pk=further.pk).update(result=made)
    make.make_job(status=Status.RUNNING, name="at work", experiment=experiment)
    return {"first": first, "second": second, "job": job, "adapter": adapter}


def page_of(user: User, model: BaseModel) -> Page:
    client = Client()
    client.force_login(user)
    page = Page(client.get(f"/models/{model.pk}"))
    page.check_outline()
    return page


def test_from_the_first_model_to_the_last_job(ana: User, family: dict[str, Any]) -> None:
    picture = lineage.of_model(family["second"], ana)
    assert picture is not None
    boxes = {(node.kind, node.name): node.column for node in picture.nodes}
    dataset = str(family["job"].experiment.dataset)
    assert boxes == {
        ("Base model", "first"): 0,
        ("Dataset", dataset): 0,
        ("Job", "tuning"): 1,
        ("Base model", "second"): 2,
        ("Job", "further"): 3,
        ("Job", "at work"): 3,
        ("Adapter", "an adapter"): 4,
    }
    pairs = {(begin.name, end.name) for begin, end in picture.edges}
    assert pairs == {
        ("first", "tuning"),
        (dataset, "tuning"),
        ("tuning", "second"),
        ("second", "further"),
        ("second", "at work"),
        ("further", "an adapter"),
    }
    places = [(node.x, node.y) for node in picture.nodes]
    assert len(set(places)) == len(places)


def test_the_page_draws_it_with_links(ana: User, family: dict[str, Any]) -> None:
    page = page_of(ana, family["second"])
    links = {(a["href"], a.get("aria-label")) for a in page.all("a")}
    assert {
        (f"/models/{family['first'].pk}", "Base model: first"),
        (f"/jobs/{family['job'].pk}", "Job: tuning"),
        (f"/adapters/{family['adapter'].pk}", "Adapter: an adapter"),
    } <= links
    assert "further Completed" in page.words


def test_a_model_on_its_own_has_no_picture(ana: User) -> None:
    page = page_of(ana, make.make_model())
    assert [svg for svg in page.all("svg") if svg.get("class") == "lineage"] == []
    assert "None yet. Train it" in page.words


def test_what_one_does_not_see_is_not_drawn(ana: User, family: dict[str, Any]) -> None:
    elsewhere = Project.objects.create(name="Theirs")
    Job.objects.filter(name__in=["tuning", "at work"]).update(project=elsewhere)
    picture = lineage.of_model(family["second"], ana)
    assert picture is not None
    assert {node.name for node in picture.nodes} == {"second", "further", "an adapter"}


def test_a_model_that_names_itself_ends_somewhere(ana: User) -> None:
    model = make.make_model(name="ring")
    job = make.make_job(status=Status.COMPLETED, experiment=make.make_experiment(base_model=model))
    BaseModel.objects.filter(pk=model.pk).update(metadata={"job_id": str(job.pk)})
    model.refresh_from_db()
    assert lineage.of_model(model, ana) is not None


def test_no_more_questions_for_many_jobs(
    ana: User, family: dict[str, Any], django_assert_max_num_queries: Any
) -> None:
    for n in range(20):
        made_by(
            make.make_job(
                status=Status.COMPLETED,
                experiment=make.make_experiment(base_model=family["second"]),
            ),
            f"child-{n}",
        )
    client = Client()
    client.force_login(ana)
    with django_assert_max_num_queries(14):
        html = client.get(f"/models/{family['second'].pk}").content.decode()
    assert "and more" in html


# --- Stages --------------------------------------------------------------------------------------


def test_members_move_a_model_through_its_stages(ana: User, viewer: User, stranger: User) -> None:
    model = make.make_model(storage_path="/models/x")
    for user, code in ((viewer, 403), (stranger, 404)):
        other = Client()
        other.force_login(user)
        assert other.post(f"/models/{model.pk}/stage", {"stage": "archived"}).status_code == code
    client = Client()
    client.force_login(ana)
    response = client.post(f"/models/{model.pk}/stage", {"stage": "production"}, follow=True)
    assert f"{model} is in production now." in Page(response).words
    model.refresh_from_db()
    assert model.stage == "production"
    assert client.post(f"/models/{model.pk}/stage", {"stage": "moon"}).status_code == 400
    refused = client.post(f"/models/{model.pk}/stage", {"stage": "staging"}, follow=True)
    assert "no model moves to staging" in Page(refused).words


def test_a_viewer_has_no_buttons(viewer: User) -> None:
    model = make.make_model(storage_path="/models/x")
    assert page_of(viewer, model).forms_to(f"/models/{model.pk}/stage") == []
