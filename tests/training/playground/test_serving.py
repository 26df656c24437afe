"""A prompt's way through the queue, onto a device and back, whatever happens to who answers it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Project
from registry.models import BaseModel
from tests.factories import make_adapter, make_job, make_lease, make_model, make_worker
from tests.training.playground.conftest import URL, status_of
from training import quotas, scheduler
from training.models import Device, Generation, Lease, Serving, Status, Worker
from training.playground import generations, placing, serving

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent", "home")]

Ask = Callable[..., dict[str, Any]]
Serve = Callable[[str], Serving]
ANSWERS = "def answer(order): write(order)\n"
NEVER = (
    "def answer(order):\n"
    "    say('begun', order, side='base', prompt_tokens=3)\n"
    "    time.sleep(600)\n"
)


def shown(api: APIClient, asked: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{URL}/{asked['id']}").json()
    return found


def test_a_prompt_waits_and_is_answered(api: APIClient, ask: Ask, serve: Serve) -> None:
    asked = ask()
    assert (asked["status"], asked["answers"]) == ("QUEUED", {})
    serve(ANSWERS)
    told = shown(api, asked)
    assert told["status"] == "COMPLETED"
    assert told["answers"]["base"] == {
        "state": "done", "text": "Four.", "tokens": 2, "prompt_tokens": 7,
        "finish_reason": "stop", "seconds": 0.5,
    }  # fmt: skip


def test_the_device_and_the_folder_are_given_back(ask: Ask, serve: Serve, home: Path) -> None:
    ask()
    found = serve(ANSWERS)
    assert found.ended_at is not None
    assert not Lease.objects.exists()
    assert list((home / "runs").iterdir()) == []


def test_one_loaded_model_answers_one_prompt_after_the_other(ask: Ask, serve: Serve) -> None:
    asked = [ask(), ask(), ask()]
    serve(ANSWERS)
    assert [status_of(one) for one in asked] == ["COMPLETED"] * 3
    assert Serving.objects.count() == 1


def test_it_stays_loaded_for_the_next_one_for_a_while(
    ask: Ask, serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRAINYARD_PLAYGROUND_IDLE_SECONDS = 600
    asked: list[dict[str, Any]] = [ask()]
    found = serving._is_idle

    def idle(answerer: serving.Answerer) -> bool:
        if len(asked) == 1:
            asked.append(ask())
        return status_of(asked[1]) == "COMPLETED" or found(answerer)

    monkeypatch.setattr(serving, "_is_idle", idle)
    serve(ANSWERS)
    assert [status_of(one) for one in asked] == ["COMPLETED"] * 2
    assert Serving.objects.count() == 1


def test_a_job_that_waits_for_the_device_gets_it_first(
    ask: Ask, serve: Serve, settings: Any
) -> None:
    settings.TRAINYARD_PLAYGROUND_IDLE_SECONDS = 600
    first, second = ask(), ask()
    placing.dispatch()
    job = make_job(status=Status.QUEUED)
    placed = Serving.objects.get()
    with pytest.raises(placing.GiveWay):
        placing.next_of(placed)
    placing.end(placed)
    placing.dispatch()  # the job's turn comes first, and so the prompts still wait
    assert not Lease.objects.exists()
    reason = Generation.objects.get(pk=second["id"]).waiting_reason
    assert reason == f"Jobs come first, and '{job.name}' waits for the same device."
    assert scheduler.dispatch() == 1
    placing.dispatch()
    reason = Generation.objects.get(pk=first["id"]).waiting_reason
    assert reason == f"Waits for the CPU: '{job.name}' runs there now."


def test_an_idle_model_asks_for_prompts_often_and_for_jobs_once_a_second(
    ask: Ask, serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRAINYARD_PLAYGROUND_IDLE_SECONDS = 1.5
    looked: list[Serving] = []
    next_of = placing.next_of

    def noted(one: Serving) -> Generation | None:
        looked.append(one)
        return next_of(one)

    monkeypatch.setattr(placing, "next_of", noted)
    asked = ask()
    serve(ANSWERS)
    assert status_of(asked) == "COMPLETED"
    assert 2 <= len(looked) <= 5  # to begin with, after the answer, and a second later


def test_it_never_takes_a_device_that_a_job_holds(ask: Ask, here: Worker) -> None:
    job = make_job(status=Status.RUNNING)
    make_lease(job, Device.objects.get(worker=here))
    asked = ask()
    assert placing.dispatch() == 0
    assert status_of(asked) == "QUEUED"
    assert not Serving.objects.exists()


def test_a_job_for_which_there_is_no_machine_keeps_nobody_waiting(ask: Ask) -> None:
    experiment = make_job(status=Status.QUEUED).experiment
    experiment.resources = {"gpus": 8}
    experiment.save()
    ask()
    assert placing.dispatch() == 1


def test_another_model_gets_the_device_when_its_prompt_came_first(
    ask: Ask, model: BaseModel
) -> None:
    ask()
    placing.dispatch()
    other = make_model(storage_path=model.storage_path)
    ask(base_model_id=str(other.pk))
    ask()
    placed = Serving.objects.get()
    first = placing.next_of(placed)
    assert first is not None
    generations.take_up(placed, first)
    with pytest.raises(placing.GiveWay):
        placing.next_of(placed)


def test_one_that_waits_is_cancelled_at_once(api: APIClient, ask: Ask) -> None:
    asked = ask()
    assert api.post(f"{URL}/{asked['id']}/cancel").json()["status"] == "CANCELLED"
    again = api.post(f"{URL}/{asked['id']}/cancel")
    assert (again.status_code, again.json()) == (
        409, {"error": "The prompt is CANCELLED and cannot become CANCELLED."},
    )  # fmt: skip


def test_one_that_is_being_written_keeps_what_there_is(
    api: APIClient, ask: Ask, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask()
    script = (
        "def answer(order):\n"
        "    say('begun', order, side='base', prompt_tokens=3)\n"
        "    say('text', order, side='base', text='Fo', tokens=1)\n"
        "    while order['id'] not in taken_back:\n"
        "        look(); time.sleep(0.01)\n"
        "    say('done', order, side='base', finish_reason='cancelled', tokens=1, seconds=1)\n"
        "    say('answered', order)\n"
    )
    cancel_when_it_writes(monkeypatch, api, asked)
    serve(script)
    told = shown(api, asked)
    assert (told["status"], told["answers"]["base"]["text"]) == ("CANCELLED", "Fo")


def test_one_that_does_not_listen_is_ended(
    api: APIClient, ask: Ask, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "GRACE_SECONDS", 0.2)
    asked = ask()
    cancel_when_it_writes(monkeypatch, api, asked)
    serve(NEVER)
    assert status_of(asked) == "CANCELLED"


def cancel_when_it_writes(
    monkeypatch: pytest.MonkeyPatch, api: APIClient, asked: dict[str, Any]
) -> None:
    found = serving.Answerer.see_to_limits

    def see(answerer: serving.Answerer) -> None:
        if answerer.answers and not answerer.is_told_to_stop:
            assert api.post(f"{URL}/{asked['id']}/cancel").status_code == 200
        found(answerer)

    monkeypatch.setattr(serving.Answerer, "see_to_limits", see)


def test_the_time_limit_is_kept_even_where_the_process_does_not(
    api: APIClient, ask: Ask, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "GRACE_SECONDS", -0.7)
    asked = ask(time_limit_s=1)
    serve(NEVER)
    told = shown(api, asked)
    assert (told["status"], told["failure"]["kind"]) == ("FAILED", "stalled")


def test_what_the_process_cannot_do_is_told_and_the_next_prompt_gets_a_new_one(
    api: APIClient, ask: Ask, serve: Serve
) -> None:
    first, second = ask(), ask()
    failure = {"kind": "bad_model", "message": "No weights.", "advice": "Register it again."}
    serve(f"def answer(order): say('failed', order, **{failure!r})\n")
    assert shown(api, first)["failure"] == failure
    assert status_of(second) == "QUEUED"
    serve(ANSWERS)
    assert status_of(second) == "COMPLETED"


def test_a_killed_process_is_a_failure_with_its_last_words(
    api: APIClient, ask: Ask, serve: Serve
) -> None:
    asked = ask()
    serve(
        "def answer(order):\n"
        "    print('about to go', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    failure = shown(api, asked)["failure"]
    assert failure["kind"] == "bug"
    assert "signal 9" in failure["message"]
    assert "about to go" in failure["message"]


def test_who_dies_between_two_prompts_costs_nobody_an_answer(ask: Ask, serve: Serve) -> None:
    first, second = ask(), ask()
    serve(
        "def answer(order):\n"
        "    if (folder / 'one').exists():\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    (folder / 'one').touch()\n"
        "    write(order)\n"
    )
    assert [status_of(first), status_of(second)] == ["COMPLETED", "QUEUED"]
    serve(ANSWERS)
    assert status_of(second) == "COMPLETED"


def at_work(ask: Ask) -> tuple[Serving, dict[str, Any]]:
    asked = ask()
    placing.dispatch()
    found = Serving.objects.get()
    Serving.objects.filter(pk=found.pk).update(
        started_at=timezone.now(), heartbeat_at=timezone.now(), runner_pid=os.getpid()
    )
    generations.take_up(found, Generation.objects.get(pk=asked["id"]))
    return found, asked


@pytest.mark.parametrize("death", ["silence", "a new boot", "a dead child"])
def test_a_dead_worker_leaves_no_ghost(api: APIClient, ask: Ask, here: Worker, death: str) -> None:
    found, asked = at_work(ask)
    if death == "silence":
        long_ago = timezone.now() - timedelta(hours=1)
        Serving.objects.filter(pk=found.pk).update(heartbeat_at=long_ago)
        placing.reconcile()
    elif death == "a new boot":
        placing.reap_of_earlier_boots(here)
    else:
        placing.reap_of_dead_runners(here, alive={os.getpid()})
        assert status_of(asked) == "RUNNING"
        placing.reap_of_dead_runners(here, alive=set())
    told = shown(api, asked)
    assert (told["status"], told["failure"]["kind"]) == ("FAILED", "lost_worker")
    assert not Lease.objects.exists()


def test_what_a_worker_still_says_after_it_was_given_up_counts_for_nothing(ask: Ask) -> None:
    found, asked = at_work(ask)
    placing.lose(found, "It was silent.")
    generation = Generation.objects.get(pk=asked["id"])
    assert not generations.write(found, generation, {"base": {"text": "late"}})
    assert not generations.end(found, generation, {}, Status.COMPLETED)


def test_a_second_message_changes_nothing(ask: Ask, serve: Serve) -> None:
    ask()
    found = serve(ANSWERS)
    serving.serve(found, lambda: False)
    assert Serving.objects.get().ended_at == found.ended_at


def test_a_worker_that_goes_down_in_good_order_puts_the_prompt_back(
    ask: Ask, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask()
    monkeypatch.setattr("training.workers.going_down.is_set", lambda: True)
    serve(NEVER)
    generation = Generation.objects.get(pk=asked["id"])
    assert (generation.status, generation.serving, generation.answers) == ("QUEUED", None, {})


def test_its_cards_count_against_the_projects_quota(
    api: APIClient, ask: Ask, project: Project, model: BaseModel
) -> None:
    make_worker("with-cards", gpus=2)
    project.max_gpus = 1
    project.save()
    ask(gpus=1)
    other = make_model(storage_path=model.storage_path)
    asked = ask(gpus=1, base_model_id=str(other.pk))
    assert placing.dispatch() == 1
    reason = Generation.objects.get(pk=asked["id"]).waiting_reason
    assert reason == f"Waits: project {project} uses 1 of its 1 GPU."
    assert quotas.use_of(project)["gpus"] == 1
    Lease.objects.update(created_at=timezone.now() - timedelta(hours=2))
    placing.end(Serving.objects.get())
    assert quotas.use_of(project) | {"gpus": 0, "gpu_hours": 2.0} == quotas.use_of(project)
    project.max_gpus = 0
    project.save()
    refused = api.post(
        URL, {"base_model_id": str(model.pk), "prompt": "a", "gpus": 1}, format="json"
    )
    assert refused.status_code == 400
    assert "may use 0 GPUs" in refused.json()["details"]["gpus"]


def test_an_adapter_is_loaded_as_it_was_trained(ask: Ask, model: BaseModel) -> None:
    adapter = make_adapter(model, storage_path="/exports/a", method="qlora")
    ask(adapter_id=str(adapter.pk))
    placing.dispatch()
    spec = serving.spec_of(Serving.objects.get())
    assert (spec.base, spec.adapter, spec.tuned) == (model.storage_path, "/exports/a", "")
    assert spec.four_bit is True


def test_old_ones_are_forgotten(ask: Ask) -> None:
    asked = ask()
    old = timezone.now() - timedelta(days=400)
    assert placing.forget_old() == 0
    Generation.objects.filter(pk=asked["id"]).update(status="CANCELLED", finished_at=old)
    assert placing.forget_old() == 1


def test_the_database_knows_whose_a_device_is(here: Worker) -> None:
    device = Device.objects.get(worker=here)
    with pytest.raises(IntegrityError), transaction.atomic():
        Lease.objects.create(device=device, sent_at=timezone.now())


def test_a_lost_message_is_made_good(
    ask: Ask, sent: list[dict[str, Any]], django_capture_on_commit_callbacks: Any
) -> None:
    ask()
    placing.dispatch()
    Lease.objects.update(sent_at=timezone.now() - timedelta(minutes=1))
    sent.clear()
    with django_capture_on_commit_callbacks(execute=True):
        placing.reconcile()
    assert [message["name"] for message in sent] == [placing.SERVE]
