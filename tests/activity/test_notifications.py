"""Who is told of what, and where: the page of choices, browsers, Web Push and e-mail."""

from __future__ import annotations

import base64
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings as django_settings
from django.core import mail
from django.test import Client
from django.utils import timezone
from py_vapid import Vapid02

from accounts.models import Membership, Project, User
from activity import news, reading
from activity.models import DEFAULTS, Activity, Channel, Choice, EventType, Notice, PushSubscription
from activity.outgoing import vapid
from activity.tasks import deliver
from tests import factories as make
from tests.activity.receiver import Receiver
from tests.pages import Page

pytestmark = pytest.mark.django_db
PAGE = "/settings/notifications"


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Browser:
    """Has subscribed, and reads what is sent to it."""

    def __init__(self, receiver: Receiver, path: str = "/push") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = b"sixteen bytes ok"
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.fields = {
            "endpoint": receiver.url(path),
            "p256dh": text(point),
            "auth": text(self.auth),
            "browser": "Chrome on Linux",
        }

    def read(self, body: bytes) -> Any:
        plain = http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth)
        return json.loads(plain)


@pytest.fixture
def browser(receiver: Receiver, client_of_ana: Client) -> Browser:
    browser = Browser(receiver)
    assert client_of_ana.post("/settings/push", browser.fields).status_code == 204
    return browser


def completed(**fields: Any) -> Activity:
    return make.make_activity(
        **{"event_type": "job_completed", "title": "Training completed: dates", **fields}
    )


def choose(user: User, channel: str, event: str, *, wanted: bool) -> None:
    Choice.objects.create(user=user, channel=channel, event_type=event, wanted=wanted)


# --- Choices -------------------------------------------------------------------------------------


def test_without_a_word_one_hears_of_endings_and_gets_no_mail(ana: User) -> None:
    wanted = Choice.objects.wanted(ana)
    assert wanted == {channel: set(events) for channel, events in DEFAULTS.items()}
    assert "job_completed" in wanted[Channel.BROWSER] & wanted[Channel.PUSH]
    assert "job_started" not in wanted[Channel.BROWSER]
    assert wanted[Channel.EMAIL] == set()


def test_the_page_saves_every_box(client_of_ana: Client, ana: User) -> None:
    page = Page(client_of_ana.get(PAGE))
    page.check_outline()
    boxes = [field for field in page.all("input") if field.get("type") == "checkbox"]
    assert len(boxes) == len(EventType.values) * len(Channel.values)
    ticked = {str(box["name"]) for box in boxes if "checked" in box}
    assert ticked == {f"{e}.{channel}" for channel, events in DEFAULTS.items() for e in events}

    chosen = {"job_started.browser": "on", "job_failed.email": "on", "email": "ana@example.org"}
    answer = client_of_ana.post(PAGE, chosen, follow=True)
    assert "Saved." in Page(answer).words
    assert Choice.objects.wanted(ana) == {
        "browser": {"job_started"},
        "push": set(),
        "email": {"job_failed"},
    }
    ana.refresh_from_db()
    assert ana.email == "ana@example.org"
    client_of_ana.post(PAGE, {"job_failed.browser": "on"})
    assert Choice.objects.wanted(ana)["browser"] == {"job_failed"}


def test_mail_to_nowhere_is_refused(client_of_ana: Client) -> None:
    answer = client_of_ana.post(PAGE, {"job_failed.email": "on"})
    assert answer.status_code == 422
    assert "Where to?" in Page(answer).words
    assert client_of_ana.post(PAGE, {"email": "nonsense"}).status_code == 422


def test_an_open_page_is_told_what_to_show(ana: User) -> None:
    choose(ana, Channel.BROWSER, "job_failed", wanted=False)
    choose(ana, Channel.BROWSER, "job_started", wanted=True)
    for event in ("job_completed", "job_failed", "job_started", "job_created"):
        make.make_activity(event_type=event, title=event)
    seen = completed(title="seen")
    reading.mark(Activity.objects.filter(pk=seen.pk), ana)
    old = completed(title="old")
    Activity.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    told = [m["activity"]["title"] for m in news.after(ana, 0)[0] if m["notify"]]
    assert told == ["job_completed", "job_started"]


# --- Web Push ------------------------------------------------------------------------------------


def test_a_completed_job_reaches_the_browser_and_nobody_in_between_can_read_it(
    browser: Browser, receiver: Receiver
) -> None:
    activity = completed(message="In 2h 34m")
    deliver()
    [posted] = receiver.posted
    assert browser.read(posted.body) == {
        "id": str(activity.pk),
        "title": "Training completed: dates",
        "body": "In 2h 34m",
        "href": f"/jobs/{activity.entity_id}",
    }
    assert b"dates" not in posted.body
    assert posted.headers["content-encoding"] == "aes128gcm"
    assert posted.headers["ttl"] == "86400"
    scheme, _, rest = posted.headers["authorization"].partition(" ")
    token, key = (part.split("=", 1)[1] for part in rest.split(","))
    assert (scheme, key) == ("vapid", vapid.public_key())
    signed, _, signature = token.rpartition(".")
    ours = Vapid02.from_raw(django_settings.VAPID_PRIVATE_KEY.encode())
    assert ours.verify_token(signed.encode(), signature)
    claims = json.loads(base64.urlsafe_b64decode(signed.split(".")[1] + "=="))
    assert claims["aud"] == receiver.url("")
    assert not Notice.objects.exists()
    assert PushSubscription.objects.get().used_at is not None
    deliver()
    assert len(receiver.posted) == 1


def test_a_long_message_still_fits(browser: Browser, receiver: Receiver) -> None:
    completed(title="t" * 300, message="ü" * 5000)
    deliver()
    assert len(receiver.posted[0].body) <= 4096
    assert browser.read(receiver.posted[0].body)["body"] == "ü" * 500


def test_only_what_one_wants_may_see_and_has_not_read(
    browser: Browser, receiver: Receiver, ana: User
) -> None:
    choose(ana, Channel.PUSH, "job_failed", wanted=False)
    make.make_activity(event_type="job_failed")
    make.make_activity(event_type="job_created")
    completed(project=Project.objects.create(name="Other"))
    read = completed()
    reading.mark(Activity.objects.filter(pk=read.pk), ana)
    old = completed()
    Activity.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    deliver()
    assert receiver.posted == []
    assert not Notice.objects.exists()


def test_everybody_in_the_project_gets_it_on_each_of_their_browsers(
    receiver: Receiver, ana: User, bob: User, stranger: User, root: User
) -> None:
    for user in (ana, bob, stranger, root):
        client = Client()
        client.force_login(user)
        for place in ("laptop", "phone"):
            client.post("/settings/push", Browser(receiver, f"/{user}-{place}").fields)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    completed()
    deliver()
    assert sorted(posted.path for posted in receiver.posted) == [
        "/ana-laptop",
        "/ana-phone",
        "/root-laptop",
        "/root-phone",
    ]


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_over_is_removed(
    browser: Browser, receiver: Receiver, status: int
) -> None:
    receiver.answers = [(status, {}, b"")]
    completed()
    completed()
    deliver()
    assert not PushSubscription.objects.exists()
    assert not Notice.objects.exists()


def test_a_push_service_that_is_down_is_asked_again(browser: Browser, receiver: Receiver) -> None:
    receiver.answers = [(503, {}, b"")]
    completed()
    deliver()
    assert Notice.objects.get().attempts == 1
    Notice.objects.update(due_at=timezone.now())
    deliver()
    assert not Notice.objects.exists()
    assert len(receiver.posted) == 2


def test_a_refusal_is_not_repeated(
    browser: Browser, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [(403, {}, b"the VAPID key is another one")]
    completed()
    deliver()
    assert not Notice.objects.exists()
    assert PushSubscription.objects.exists()
    assert "the VAPID key is another one" in caplog.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"endpoint": "http://10.0.0.1/push"}, "endpoint"),
        ({"endpoint": ""}, "endpoint"),
        ({"p256dh": "AAAA"}, "p256dh"),
        ({"p256dh": text(b"\x04" + b"\x01" * 64)}, "p256dh"),
        ({"p256dh": "ü"}, "p256dh"),
        ({"auth": text(b"short")}, "auth"),
        ({"auth": "!!"}, "auth"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused(
    receiver: Receiver, client_of_ana: Client, change: dict[str, str], field: str
) -> None:
    answer = client_of_ana.post("/settings/push", {**Browser(receiver).fields, **change})
    assert answer.status_code == 400
    assert set(answer.json()["details"]) == {field}
    assert not PushSubscription.objects.exists()


def test_a_browser_is_whose_who_subscribed_last(
    browser: Browser, bob: User, stranger: User
) -> None:
    client = Client()
    client.force_login(bob)
    client.post("/settings/push", browser.fields)
    assert PushSubscription.objects.get().user == bob
    assert "Chrome on Linux" in Page(client.get(PAGE)).words
    outsider = Client()
    outsider.force_login(stranger)
    path = f"/settings/push/{PushSubscription.objects.get().pk}/remove"
    assert outsider.post(path).status_code == 404
    assert client.post(path).status_code == 302
    assert not PushSubscription.objects.exists()


def test_our_key_is_made_once_and_only_its_owner_can_read_it() -> None:
    kept = Path(django_settings.TRAINYARD_HOME) / "vapid_private_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text() == django_settings.VAPID_PRIVATE_KEY
    assert len(base64.urlsafe_b64decode(kept.read_text() + "=")) == 32


def test_a_page_subscribes_with_our_public_key(client_of_ana: Client) -> None:
    key = client_of_ana.get("/settings/push/key").json()["key"]
    point = base64.urlsafe_b64decode(key + "=")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def test_the_service_worker_watches_over_all_pages(client: Client, db: None) -> None:
    answer = client.get("/service-worker.js")
    assert answer["Content-Type"] == "text/javascript"
    assert answer["Cache-Control"] == "no-cache"
    assert b"showNotification" in answer.content


# --- E-mail --------------------------------------------------------------------------------------


@pytest.fixture
def with_mail(settings: Any) -> None:
    settings.TRAINYARD_SENDS_EMAIL = True
    settings.TRAINYARD_URL = "https://yard.example.org"


def test_who_asked_for_it_gets_an_email(with_mail: None, ana: User, bob: User) -> None:
    for user in (ana, bob):
        user.email = f"{user}@example.org"
        user.save()
    choose(ana, Channel.EMAIL, "job_failed", wanted=True)
    activity = make.make_activity(
        event_type="job_failed", title="Training failed:\ndates", message="Out of memory."
    )
    completed()
    deliver()
    [letter] = mail.outbox
    assert letter.to == ["ana@example.org"]
    assert letter.subject == "Training failed: dates"
    assert "Out of memory." in letter.body
    assert f"https://yard.example.org/jobs/{activity.entity_id}" in letter.body
    assert f"https://yard.example.org{PAGE}" in letter.body
    deliver()
    assert len(mail.outbox) == 1


def test_nobody_outside_of_the_project_gets_one(with_mail: None, stranger: User) -> None:
    User.objects.filter(pk=stranger.pk).update(email="stranger@example.org")
    choose(stranger, Channel.EMAIL, "job_failed", wanted=True)
    make.make_activity(event_type="job_failed")
    deliver()
    assert mail.outbox == []
    Membership.objects.create(user=stranger, project=Project.objects.default(), role="viewer")
    make.make_activity(event_type="job_failed")
    deliver()
    assert len(mail.outbox) == 1


def test_without_a_mail_server_nothing_piles_up(ana: User) -> None:
    User.objects.filter(pk=ana.pk).update(email="ana@example.org")
    choose(ana, Channel.EMAIL, "job_failed", wanted=True)
    make.make_activity(event_type="job_failed")
    deliver()
    assert (mail.outbox, Notice.objects.count()) == ([], 0)


def test_a_mail_server_that_is_down_is_asked_again(
    with_mail: None, ana: User, settings: Any
) -> None:
    User.objects.filter(pk=ana.pk).update(email="ana@example.org")
    choose(ana, Channel.EMAIL, "job_failed", wanted=True)
    make.make_activity(event_type="job_failed")
    works = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 1  # nobody listens there
    deliver()
    assert Notice.objects.get().attempts == 1
    settings.EMAIL_BACKEND = works
    Notice.objects.update(due_at=timezone.now())
    deliver()
    assert len(mail.outbox) == 1
