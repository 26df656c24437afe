"""Code that a model brings along runs when a member of staff has approved it, and not otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accounts.models import User
from registry import code_reviews, inspect, services
from registry.models import BaseModel, CodeReview
from registry.services import CannotRegister
from tests.registry.files import LLAMA, write_json, write_model
from training import checking

CONFIG = {**LLAMA, "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}}


@pytest.fixture
def own(home: Path) -> Path:
    """A model with code of its own."""
    folder = write_model(home / "models" / "own", config=CONFIG)
    (folder / "modeling_own.py").write_text("class Own: pass\n")
    return folder


def register(folder: Path, user: User, project: Any) -> BaseModel:
    return services.register_model(user=user, project=project, name="own", storage_path=str(folder))


@pytest.fixture
def review(own: Path, ana: User, project: Any) -> CodeReview:
    with pytest.raises(CannotRegister, match=r"modeling_own\.py.*staff member") as refused:
        register(own, ana, project)
    assert refused.value.field == "storage_path"
    return CodeReview.objects.get()


def test_it_is_refused_and_put_before_the_staff_once(own, ana, project, review):
    with pytest.raises(CannotRegister, match=review.sha256):
        register(own, ana, project)
    assert CodeReview.objects.count() == 1
    assert review.files == inspect.custom_code(own).files
    assert "class Own: pass" in code_reviews.text_of(review)


def test_staff_approves_it_and_then_it_is_registered(client_of, root, ana, own, project, review):
    answer = client_of(root).post(f"/api/code-reviews/{review.pk}/approve")
    assert (answer.status_code, answer.json()["approved_by"]) == (200, "root")
    assert answer.json()["found_in"] == str(own)
    model = register(own, ana, project)
    assert model.inspection["code"]["sha256"] == review.sha256
    assert code_reviews.refusal(model) == ""
    assert checking.model_facts(model).problems == (
        "tokenizer.json cannot be loaded: it has no model. Download the tokenizer's files again, "
        "or take them from the original model.",
    )
    listed = client_of(ana).get("/api/code-reviews").json()
    assert listed["code_reviews"][0]["approved"] is True
    assert listed["code_reviews"][0]["found_in"] == ""


@pytest.mark.parametrize("verb", ["approve", "withdraw"])
def test_others_do_not(client_of, ana, review, verb):
    answer = client_of(ana).post(f"/api/code-reviews/{review.pk}/{verb}")
    assert (answer.status_code, answer.json()) == (403, {"error": "Only staff approves code."})
    review.refresh_from_db()
    assert not review.is_approved


def test_a_withdrawn_approval_stops_the_next_run(client_of, root, ana, own, project, review):
    code_reviews.approve(review, actor=root)
    model = register(own, ana, project)
    client_of(root).post(f"/api/code-reviews/{review.pk}/withdraw")
    assert "is not approved" in code_reviews.refusal(model)
    assert any("is not approved" in problem for problem in checking.model_facts(model).problems)


def test_changed_code_is_other_code(root, ana, own, project, review):
    code_reviews.approve(review, actor=root)
    model = register(own, ana, project)
    (own / "modeling_own.py").write_text("class Own: import os\n")
    assert "is not approved" in code_reviews.refusal(model)
    assert "no longer in" in code_reviews.text_of(review)
    services.check_model(model)
    assert model.status == "broken"


def test_some_of_the_approved_files_are_approved_and_one_more_is_not(root, own, project, review):
    (own / "tokenization_own.py").write_text("")
    both = code_reviews.ask_for(inspect.custom_code(own), own)
    code_reviews.approve(both, actor=root)
    (own / "tokenization_own.py").unlink()
    assert inspect.model_folder(own, code_reviews.approves).code is not None
    (own / "more.py").write_text("")
    with pytest.raises(inspect.CodeNotApproved):
        inspect.model_folder(own, code_reviews.approves)


def test_code_that_nothing_asks_for_is_told_and_not_run(home, root, project):
    folder = write_model(home / "models" / "a")
    (folder / "convert.py").write_text("")
    model = register(folder, root, project)
    assert "code_is_not_run" in [f["code"] for f in model.inspection["findings"]]
    assert code_reviews.code_of(model) is None


@pytest.mark.parametrize("name", ["tokenizer_config.json", "preprocessor_config.json"])
def test_a_tokenizer_may_ask_for_code_too(home, name):
    folder = write_model(home / "models" / "a")
    (folder / "own.py").write_text("")
    write_json(folder / name, {"auto_map": {"AutoTokenizer": ["own.Own", None]}})
    with pytest.raises(inspect.CodeNotApproved, match=name):
        inspect.model_folder(folder)


def test_code_of_another_repository_is_never_fetched(own):
    write_json(own / "config.json", {**LLAMA, "auto_map": {"AutoModel": "who/what--m.Own"}})
    with pytest.raises(inspect.BadModel, match="another repository"):
        inspect.model_folder(own, lambda code: True)


def test_code_that_is_not_there_is_told(own):
    (own / "modeling_own.py").unlink()
    with pytest.raises(inspect.BadModel, match=r"no \.py file"):
        inspect.model_folder(own, lambda code: True)
