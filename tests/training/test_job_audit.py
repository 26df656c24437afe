"""What a person does to a job has an entry in the audit log."""

from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from django.test import Client

from accounts.models import User
from activity import audit
from tests.factories import make_job
from training import services
from training.lifecycle import IllegalMove
from training.models import Status

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


def test_a_change_through_a_page_has_an_entry(ana: User) -> None:
    job = make_job(status=Status.QUEUED)
    browser = Client()
    browser.force_login(ana)
    assert browser.post(f"/jobs/{job.pk}/cancel").status_code == 302
    entry = LogEntry.objects.filter(object_pk=str(job.pk)).latest("pk")
    assert (entry.actor, audit.verb_of(entry)) == (ana, "cancel")
    assert audit.changes_of(entry) == {"status": ["QUEUED", "CANCELLED"]}
    assert entry.remote_addr == "127.0.0.1"


@pytest.mark.parametrize(
    ("verb", "status", "becomes"),
    [
        ("start", Status.PENDING, "QUEUED"),
        ("cancel", Status.RUNNING, "RUNNING"),  # asked for; the runner ends it
        ("pause", Status.RUNNING, "PAUSING"),
        ("resume", Status.PAUSED, "QUEUED"),
        ("retry", Status.FAILED, "QUEUED"),
    ],
)
def test_what_a_person_does_to_a_job_is_noted(
    ana: User, verb: str, status: str, becomes: str
) -> None:
    job = make_job(status=status)
    getattr(services, verb)(job, actor=ana)
    entry = LogEntry.objects.filter(object_pk=str(job.pk)).latest("pk")
    assert (entry.actor, audit.verb_of(entry), entry.object_repr) == (ana, verb, job.name)
    assert audit.changes_of(entry) == {"status": [status, becomes]}


def test_what_was_refused_is_not_noted(ana: User) -> None:
    job = make_job(status=Status.COMPLETED)
    before = LogEntry.objects.count()
    for verb in ("start", "cancel", "pause", "resume", "retry"):
        with pytest.raises(IllegalMove):
            getattr(services, verb)(job, actor=ana)
    assert LogEntry.objects.count() == before
