"""Pages of long lists are remembered, and never longer than they hold."""

from __future__ import annotations

import re
import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import changes
from accounts.models import Change, Membership
from activity.models import Activity
from api.remembered import Memory
from registry.models import BaseModel
from tests.factories import make_activity, make_dataset, make_model

pytestmark = pytest.mark.django_db(transaction=True)


def names(client) -> list[str]:
    body = client.get("/api/base-models?limit=5").json()
    found = sorted(row["name"] for row in body["models"])
    assert body["total"] == len(found)
    return found


def test_the_second_answer_reads_no_rows(api):
    make_model(name="a")
    assert names(api) == ["a"]
    assert tables_read(api, "/api/base-models?limit=5") == ["accounts_user", "accounts_change"]


def test_what_is_worked_out_for_each_row_is_read_again_by_its_ids(api):
    model, dataset = make_model(), make_dataset()
    path = f"/api/datasets?limit=5&compatible_with_model={model.pk}"
    assert api.get(path).json()["datasets"][0]["id"] == str(dataset.pk)
    tables = tables_read(api, path)
    assert tables.count("registry_dataset") == 1


def tables_read(client, path: str) -> list[str]:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(path).json()["total"] == 1
    assert not [query for query in asked if "COUNT(" in query["sql"]]
    return [re.findall(r'FROM "?(\w+)', query["sql"])[0] for query in asked]


def test_the_memory_is_bounded_and_keeps_what_was_used_last():
    memory = Memory(most_bytes=100)
    memory.keep("a", 1, 40)
    memory.keep("b", 2, 40)
    memory.keep("b", 3, 50)
    assert (memory.get("a"), memory.get("b")) == (1, 3)
    memory.get("a")
    memory.keep("c", 4, 60)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 4)
    memory.keep("larger than all of it", 5, 101)
    assert (memory.get("larger than all of it"), memory.get("c")) == (None, 4)
    memory.keep("d", 6, 100)
    assert memory.get("d") == 6


def test_every_kind_of_change_is_seen(api):
    model = make_model(name="a")
    assert names(api) == ["a"]
    BaseModel.objects.filter(pk=model.pk).update(name="b")
    assert names(api) == ["b"]
    make_model(name="c")
    assert names(api) == ["b", "c"]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM registry_basemodel WHERE name = 'b'")
    assert names(api) == ["c"]


def test_rights_are_seen(client_of, ana, project):
    client = client_of(ana)
    make_model(name="a", project=project)
    assert names(client) == ["a"]
    Membership.objects.filter(user=ana).delete()
    assert names(client) == []


def test_a_mark_is_seen(api):
    activity = make_activity()
    feed = "/api/activity?limit=5&unread_only=true"
    assert api.get(feed).json()["total"] == 1
    assert api.get(feed).json()["total"] == 1
    api.post(f"/api/activity/{activity.pk}/mark-read")
    assert api.get(feed).json()["total"] == 0
    Activity.objects.all().delete()
    assert api.get("/api/activity?limit=5").json()["total"] == 0


def test_what_was_rolled_back_was_never_remembered(api):
    make_model(name="a")
    try:
        with transaction.atomic():
            make_model(name="gone")
            assert names(api) == ["a", "gone"]
            raise InterruptedError
    except InterruptedError:
        pass
    make_model(name="b")
    assert names(api) == ["a", "b"]


def test_nobody_waits_for_another_ones_change(api):
    """Two transactions change the same table in turns, where a row is locked on PostgreSQL."""
    if connection.vendor != "postgresql":
        return  # SQLite has one writer at a time anyway
    before = changes.state("registry_basemodel")

    def other() -> None:
        make_model(name="other")
        connection.close()

    with transaction.atomic():
        make_model(name="first")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert changes.state("registry_basemodel") != before


def test_squashed_the_numbers_stay(api):
    for name in "abc":
        make_model(name=name)
    before = changes.state("registry_basemodel")
    changes.squash()
    assert changes.state("registry_basemodel") == before
    assert Change.objects.filter(table="registry_basemodel").count() == 1
    assert names(api) == ["a", "b", "c"]


def test_a_table_that_nobody_watches_has_no_state():
    assert changes.state("registry_basemodel", "accounts_token") is None
