from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse

from registry import code_reviews, inspect, model_cards, services
from registry.models import BaseModel
from tests.factories import make_adapter, make_dataset, make_experiment, make_job, make_model
from tests.registry.files import write_model

MODELS = ("basemodel", "dataset", "adapter")


@pytest.fixture
def admin(root) -> Client:
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def one_of_each(project) -> dict[str, object]:
    model = make_model(name="needle")
    return {
        "basemodel": model,
        "dataset": make_dataset(name="needle"),
        "adapter": make_adapter(model, name="needle"),
    }


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_is_listed_searched_and_opened(admin, one_of_each, name: str):
    listed = admin.get(reverse(f"admin:registry_{name}_changelist"), {"q": "needle"})
    assert listed.status_code == 200
    assert b"needle" in listed.content
    opened = admin.get(reverse(f"admin:registry_{name}_change", args=[one_of_each[name].pk]))
    assert opened.status_code == 200


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_added_by_hand(admin, name: str):
    assert admin.get(reverse(f"admin:registry_{name}_add")).status_code == 403


def test_facts_are_not_edited(admin, project):
    model = make_model(name="a", checksum="f" * 64)
    path = reverse("admin:registry_basemodel_change", args=[model.pk])
    given = {
        "name": "b",
        "adapters-TOTAL_FORMS": "0",
        "adapters-INITIAL_FORMS": "0",
        "stage": "production",
        "project": str(project.pk),
        "tags": "[]",
        "checksum": "0",
        "params_b": "70",
    }
    assert admin.post(path, given).status_code == 302
    model.refresh_from_db()
    assert (model.name, model.stage) == ("b", "staging")
    assert (model.checksum, model.params_b) == ("f" * 64, 0.004)


PROMOTE = "Promote to production"


def stage_of(model: BaseModel) -> str:
    model.refresh_from_db()
    return model.stage


def promote(admin: Client, *models: BaseModel, **answers: str):
    given = {"action": "promote", "_selected_action": [str(m.pk) for m in models], **answers}
    return admin.post(reverse("admin:registry_basemodel_changelist"), given, follow=True)


def test_a_promotion_asks_first_and_says_what_it_cannot_do(admin, project):
    ready = make_model(name="ready", storage_path="/models/ready")
    others = {
        make_model(name="old", stage="archived"): "old</b>: It is in archived",
        make_model(name="torn", storage_path="/x", status="broken"): "torn</b>: Its files are gone",
        make_model(name="empty"): "empty</b>: It has no files.",
    }
    asked = promote(admin, ready, *others).content.decode()
    assert stage_of(ready) == "staging"
    for reason in others.values():
        assert reason in asked
    promote(admin, ready, *others, confirmed=PROMOTE)
    assert stage_of(ready) == "production"
    assert [stage_of(model) for model in others] == ["archived", "staging", "staging"]


def test_a_promotion_is_in_the_audit_log(admin, root, project):
    model = make_model(storage_path="/models/ready")
    promote(admin, model, confirmed=PROMOTE)
    entry = LogEntry.objects.latest("pk")
    assert (entry.object_pk, entry.actor) == (str(model.pk), root)
    assert entry.changes == {"stage": ["staging", "production"]}


def test_a_model_is_archived_from_its_own_page(admin, project):
    model = make_model(stage="production")
    path = reverse("admin:registry_basemodel_archive_this", args=[model.pk])
    assert b"Move to archived?" in admin.get(path).content
    assert stage_of(model) == "production"  # a link alone changes nothing
    assert admin.post(path, {"confirmed": "Archive"}).status_code == 302
    assert stage_of(model) == "archived"


def test_a_dataset_is_checked_again(admin, project, home):
    folder = home / "datasets" / "dates"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "a"}\n{"text": \n')
    dataset = make_dataset(storage_path=str(folder))
    path = reverse("admin:registry_dataset_check_this", args=[dataset.pk])
    done = admin.post(path, {"confirmed": "Check integrity again"}, follow=True)
    assert "checked, and it did not pass" in done.content.decode()
    dataset.refresh_from_db()
    assert (dataset.integrity_checked, dataset.integrity_passed) == (True, False)


def test_a_dataset_whose_files_are_gone_says_so(admin, project, home):
    dataset = make_dataset(name="gone", storage_path=str(home / "datasets" / "gone"))
    path = reverse("admin:registry_dataset_check_this", args=[dataset.pk])
    done = admin.post(path, {"confirmed": "Check integrity again"}, follow=True)
    assert "gone 1.0: " in done.content.decode()
    dataset.refresh_from_db()
    assert dataset.integrity_passed  # what was found before stands


def test_a_trained_model_leads_to_its_job(admin, project):
    job = make_job()
    model = make_model(metadata={"job_id": str(job.pk), "job_name": "its job"})
    page = admin.get(reverse("admin:registry_basemodel_change", args=[model.pk])).content.decode()
    assert f'href="/admin/training/job/{job.pk}/change/">its job</a>' in page
    assert f"/admin/training/experiment/?base_model={model.pk}" in page
    used = admin.get("/admin/training/experiment/", {"base_model": str(model.pk)})
    assert used.status_code == 200


def test_a_model_card_is_shown_as_harmless_html(admin, project):
    card = (
        "---\nlicense: mit\n---\n# Title\n\n<script>alert(1)</script>\n\n**bold** "
        "[bad](javascript:alert(1)) ![spy](https://example.org/x.png)\n\n|a|\n|-|\n|1|\n"
    )
    html = model_cards.to_html(card)
    assert "<h3>Title</h3>" in html
    assert "<strong>bold</strong>" in html
    assert "<td>1</td>" in html
    for gone in ("<script", "alert(1)<", "href", "<img", "example.org", "license"):
        assert gone not in html
    model = make_model(model_card=card)
    page = admin.get(reverse("admin:registry_basemodel_change", args=[model.pk]))
    assert "<strong>bold</strong>" in page.content.decode()
    adapter = make_adapter(model, model_card=card)
    for address in (reverse("model", args=[model.pk]), reverse("adapter", args=[adapter.pk])):
        page = admin.get(address)
        assert "<strong>bold</strong>" in page.content.decode()
        assert "spy" not in page.content.decode()


def test_what_is_in_use_is_not_deleted(admin, project):
    model = make_experiment().base_model
    path = reverse("admin:registry_basemodel_delete", args=[model.pk])
    assert admin.post(path, {"post": "yes"}).status_code == 200
    assert BaseModel.objects.filter(pk=model.pk).exists()


@pytest.mark.parametrize("count", [1, 10])
def test_the_list_costs_the_same_queries_however_long(
    admin, project, count: int, django_assert_max_num_queries
):
    for _ in range(count):
        make_adapter(make_model())
    with django_assert_max_num_queries(16):
        admin.get(reverse("admin:registry_adapter_changelist"))


def test_code_is_read_and_then_approved(admin, root, project, home):
    folder = write_model(home / "models" / "own")
    (folder / "modeling_own.py").write_text("class Own: '<b>'\n")
    review = code_reviews.ask_for(inspect.custom_code(folder), folder)
    assert admin.get(reverse("admin:registry_codereview_changelist")).status_code == 200
    page = admin.get(reverse("admin:registry_codereview_change", args=[review.pk]))
    assert "class Own: &#x27;&lt;b&gt;&#x27;" in page.content.decode()
    path = reverse("admin:registry_codereview_approve_this", args=[review.pk])
    assert b"has read it" in admin.get(path).content
    review.refresh_from_db()
    assert not review.is_approved
    admin.post(path, {"confirmed": "Approve"})
    review.refresh_from_db()
    assert review.approved_by == root
    assert LogEntry.objects.latest("pk").actor == root
    path = reverse("admin:registry_codereview_withdraw_this", args=[review.pk])
    admin.post(path, {"confirmed": "Withdraw the approval"})
    review.refresh_from_db()
    assert not review.is_approved


def test_the_files_of_a_model_are_checked_again(admin, root, project, home):
    folder = write_model(home / "models" / "own")
    model = services.register_model(
        user=root, project=project, name="own", storage_path=str(folder)
    )
    path = reverse("admin:registry_basemodel_check_this", args=[model.pk])
    confirmed = {"confirmed": "Check files again"}
    done = admin.post(path, confirmed, follow=True).content.decode()
    assert "own: all files are as they were registered." in done
    (folder / "config.json").unlink()
    done = admin.post(path, confirmed, follow=True).content.decode()
    assert "own is broken: config.json is missing." in done
