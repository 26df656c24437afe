"""From an event to a signed request, and again until it has arrived."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts import secrets
from accounts.models import Project, User
from activity import webhooks
from activity.models import Outbox, Webhook, WebhookDelivery
from activity.outgoing import dispatch, expiry, parcels, post_office
from activity.tasks import deliver
from tests import factories as make
from tests.activity.receiver import Receiver

pytestmark = pytest.mark.django_db


def make_webhook(receiver: Receiver, project: Project, **fields: Any) -> Webhook:
    return make.make_webhook(**{"project": project, "url": receiver.url(), **fields})


def completed(**fields: Any) -> Any:
    return make.make_activity(
        **{"event_type": "job_completed", "title": "Training completed: dates", **fields}
    )


def its(webhook: Webhook) -> WebhookDelivery:
    return webhook.deliveries.get()


def as_if_later(seconds: float) -> None:
    """What is due in so many seconds is due now."""
    for delivery in WebhookDelivery.objects.all():
        delivery.due_at -= timedelta(seconds=seconds)
        delivery.save(update_fields=["due_at"])
    Outbox.objects.update(busy_until=None)


def test_an_event_is_posted_signed_and_logged(receiver: Receiver, project: Project) -> None:
    webhook = make_webhook(receiver, project)
    activity = completed(status="success", message="In 2h 34m", metadata={"steps": 3})
    deliver()
    [posted] = receiver.posted
    body = json.loads(posted.body)
    assert body["type"] == "job_completed"
    assert body["data"]["id"] == str(activity.pk)
    assert body["data"]["metadata"] == {"steps": 3}
    assert body["data"]["url"].endswith(f"/jobs/{activity.entity_id}")
    assert "read" not in body["data"]

    key = base64.b64decode(webhook.secret.removeprefix("whsec_"))
    moment, name = posted.headers["webhook-timestamp"], posted.headers["webhook-id"]
    mac = hmac.new(key, f"{name}.{moment}.".encode() + posted.body, hashlib.sha256)
    assert posted.headers["webhook-signature"] == f"v1,{base64.b64encode(mac.digest()).decode()}"
    assert posted.headers["trainyard-event"] == "job_completed"
    assert abs(int(moment) - timezone.now().timestamp()) < 60

    delivery = its(webhook)
    assert (delivery.state, delivery.attempts, str(delivery.pk)) == ("delivered", 1, name)
    assert (delivery.response_status, delivery.response_body) == (200, "ok")
    assert delivery.request_body.encode() == posted.body
    assert delivery.duration_ms is not None


def test_only_what_was_chosen_of_its_own_project_and_while_it_is_on(
    receiver: Receiver, project: Project
) -> None:
    make_webhook(receiver, project)
    make_webhook(receiver, project, enabled=False)
    make_webhook(receiver, Project.objects.create(name="Other"), event_types=["job_created"])
    completed(event_type="job_created")
    wanted = completed(event_type="job_failed")
    deliver()
    assert [d.activity for d in WebhookDelivery.objects.all()] == [wanted]


def test_that_a_dataset_was_checked_is_told_to_nobody_as_an_import(
    receiver: Receiver, project: Project
) -> None:
    """It is in the feed under the contract's type, and its action says what it is."""
    make_webhook(receiver, project, event_types=["dataset_imported"])
    about: dict[str, Any] = {"event_type": "dataset_imported", "project": project}
    make.make_activity(metadata={"action": "checked"}, **about)
    imported = make.make_activity(**about)
    dispatch.dispatch()
    assert [d.activity for d in WebhookDelivery.objects.all()] == [imported]


def test_each_activity_is_dispatched_once(receiver: Receiver, project: Project) -> None:
    webhook = make_webhook(receiver, project)
    completed()
    deliver()
    deliver()
    completed()
    deliver()
    assert len(receiver.posted) == webhook.deliveries.count() == 2


def test_history_before_the_webhook_is_not_sent(receiver: Receiver, project: Project) -> None:
    completed()
    dispatch.dispatch()
    make_webhook(receiver, project)
    deliver()
    assert receiver.posted == []


def test_a_failure_is_tried_again_with_longer_waits_until_it_works(
    receiver: Receiver, project: Project
) -> None:
    webhook = make_webhook(receiver, project)
    completed()
    receiver.answers = [(500, {}, b"broken"), (503, {"retry-after": "120"}, b""), (200, {}, b"")]
    deliver()
    first = its(webhook)
    assert (first.state, first.attempts, first.response_status) == ("pending", 1, 500)
    wait = first.due_at - timezone.now()
    assert timedelta(seconds=0) < wait <= parcels.WAITS[0]
    deliver()
    assert len(receiver.posted) == 1  # it is not due yet

    as_if_later(10)
    deliver()
    second = its(webhook)
    assert (second.attempts, second.response_status) == (2, 503)
    assert second.due_at - timezone.now() > timedelta(seconds=110)  # as it has asked for

    as_if_later(120)
    deliver()
    assert (its(webhook).state, its(webhook).attempts) == ("delivered", 3)
    assert len({posted.headers["webhook-id"] for posted in receiver.posted}) == 1


def test_it_is_given_up_in_the_end(receiver: Receiver, project: Project) -> None:
    webhook = make_webhook(receiver, project)
    completed()
    receiver.answers = [(500, {}, b"")] * 20
    dispatch.dispatch()
    WebhookDelivery.objects.update(attempts=len(parcels.WAITS))
    deliver()
    assert its(webhook).state == "failed"
    as_if_later(10**6)
    deliver()
    assert len(receiver.posted) == 1


def test_who_says_gone_is_never_asked_again(receiver: Receiver, project: Project) -> None:
    webhook = make_webhook(receiver, project)
    completed()
    receiver.answers = [(410, {}, b"")]
    deliver()
    webhook.refresh_from_db()
    assert (its(webhook).state, webhook.enabled) == ("failed", False)


def test_one_that_fails_does_not_hold_up_the_others(receiver: Receiver, project: Project) -> None:
    bad = make_webhook(receiver, project, url="http://10.0.0.1/")
    good = make_webhook(receiver, project)
    for _ in range(6):
        completed()
    deliver()
    assert len(receiver.posted) == good.deliveries.filter(state="delivered").count() == 6
    # Two of the other's were tried; the rest waits with them.
    assert sorted(bad.deliveries.values_list("attempts", flat=True)) == [0, 0, 0, 0, 1, 1]
    assert "not a public address" in bad.deliveries.filter(attempts=1)[0].error
    assert not bad.deliveries.filter(due_at__lte=timezone.now()).exists()


def test_a_secret_of_another_key_is_told_not_sent(
    receiver: Receiver, project: Project, settings: Any
) -> None:
    webhook = make_webhook(receiver, project)
    completed()
    settings.SECRET_KEY = "another one"
    deliver()
    assert "SECRET_KEY_FALLBACKS" in its(webhook).error
    assert receiver.posted == []


def test_while_somebody_is_busy_nobody_else_sends(receiver: Receiver, project: Project) -> None:
    make_webhook(receiver, project)
    completed()
    Outbox.objects.update(busy_until=timezone.now() + timedelta(seconds=30))
    deliver()
    assert receiver.posted == []
    Outbox.objects.update(busy_until=timezone.now() - timedelta(seconds=1))
    deliver()
    assert len(receiver.posted) == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_is_killed_while_sending_has_lost_nothing(
    receiver: Receiver, project: Project
) -> None:
    webhook = make_webhook(receiver, project)
    completed()
    let_go = threading.Event()
    receiver.before = lambda: let_go.wait(30)
    connections.close_all()
    child = os.fork()
    if child == 0:
        deliver()
        os._exit(0)
    receiver.wait_for(1)
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    let_go.set()
    assert (its(webhook).state, its(webhook).attempts) == ("pending", 1)

    deliver()
    assert len(receiver.posted) == 1  # its claim has not run out
    as_if_later(post_office.CLAIMED_FOR.total_seconds())
    deliver()
    first, second = receiver.posted
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (its(webhook).state, its(webhook).attempts) == ("delivered", 2)


def test_slack_gets_its_own_shape(receiver: Receiver, project: Project) -> None:
    make_webhook(receiver, project, kind="slack")
    completed(title="A <b> & | c", message="<!channel> done")
    deliver()
    body = json.loads(receiver.posted[0].body)
    text = body["blocks"][0]["text"]["text"]
    assert body["text"] == "A &lt;b&gt; &amp; ¦ c: &lt;!channel&gt; done"
    assert text.startswith("*<http")
    assert text.endswith("|A &lt;b&gt; &amp; ¦ c>*\n&lt;!channel&gt; done")


def test_discord_gets_its_own_shape(receiver: Receiver, project: Project) -> None:
    make_webhook(receiver, project, kind="discord")
    completed(title="@everyone " + "x" * 280, message="y" * 9000, status="error")
    deliver()
    body = json.loads(receiver.posted[0].body)
    [embed] = body["embeds"]
    assert (len(embed["title"]), len(embed["description"])) == (256, 4000)
    assert embed["color"] == 0xB3261E
    assert body["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize("kind", ["generic", "slack", "discord"])
def test_a_test_is_sent_in_every_shape(receiver: Receiver, project: Project, kind: str) -> None:
    webhook = make_webhook(receiver, project, kind=kind)
    webhooks.test(webhook)
    deliver()
    assert (its(webhook).state, its(webhook).event_type) == ("delivered", "test")
    assert b"Trainyard can reach you" in receiver.posted[0].body


def test_again_is_a_delivery_of_its_own(receiver: Receiver, project: Project) -> None:
    webhook = make_webhook(receiver, project)
    completed()
    deliver()
    again = webhooks.redeliver(its(webhook))
    deliver()
    again.refresh_from_db()
    first, second = receiver.posted
    assert first.body == second.body
    assert second.headers["webhook-id"] == str(again.pk) != first.headers["webhook-id"]
    assert again.state == "delivered"


def test_the_secret_is_encrypted_and_a_new_one_counts_at_once(
    receiver: Receiver, project: Project, ana: User
) -> None:
    webhook = make_webhook(receiver, project)
    old = webhook.secret
    row = Webhook.objects.values().get()
    assert old not in str(row)
    new = webhooks.rotate_secret(webhook, user=ana).secret
    assert new != old
    assert secrets.decrypt(Webhook.objects.get().encrypted_secret) == new


def test_the_log_is_kept_for_a_month(receiver: Receiver, project: Project) -> None:
    webhook = make_webhook(receiver, project)
    for _ in range(3):
        completed()
    dispatch.dispatch()
    old, pending, new = webhook.deliveries.all()
    long_ago = timezone.now() - timedelta(days=31)
    for row, state in ((old, "failed"), (pending, "pending")):
        WebhookDelivery.objects.filter(pk=row.pk).update(created_at=long_ago, state=state)
    WebhookDelivery.objects.filter(pk=new.pk).update(state="delivered")
    expiry.forget_old_deliveries()
    assert set(WebhookDelivery.objects.all()) == {pending, new}


def test_without_news_dispatching_takes_no_lock(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        dispatch.dispatch()


def test_dispatching_asks_the_same_number_of_questions_however_much_there_is(
    receiver: Receiver, project: Project, django_assert_num_queries: Any
) -> None:
    for _ in range(2):
        make_webhook(receiver, project)
        completed()
        completed()
        with django_assert_num_queries(10):
            dispatch.dispatch()
