"""What it costs to know how much is unread, with 100,000 activities of ten projects.

``python benchmarks/unread.py``. SQLite in a home of its own. The owner of the platform has read the
older half, line by line; a member of one project has read nothing. Milliseconds, medians.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

COUNT, TRIES = 100_000, 9


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as home:
        os.environ.update(TRAINYARD_HOME=home, DJANGO_SETTINGS_MODULE="trainyard.settings")
        os.environ.pop("DATABASE_URL", None)
        import django

        django.setup()
        measure()


def measure() -> None:
    from activity import reading
    from activity.models import Activity, ReadMark

    people = filled()
    report("a mark for each line", people)
    reading.squash()
    report(f"marks without a gap made into one ({ReadMark.objects.count()} left)", people)
    owner = people[0]
    began = time.perf_counter()
    count = reading.mark_all(owner)
    print(f"{(time.perf_counter() - began) * 1000:8.1f}  marking the other {count:,} as read")
    report("everything read by the owner", people)
    assert not Activity.objects.unread_by(owner).exists()


def filled() -> list[Any]:
    from django.core.management import call_command
    from django.db import connection

    from accounts.local import local_owner
    from accounts.models import Project
    from activity.models import Activity, Cursor, ReadMark
    from benchmarks.latency.fill import BATCH, activity, fill, member_of

    call_command("migrate", verbosity=0)
    random.seed(1)
    owner = local_owner()
    teams = Project.objects.bulk_create([Project(name=f"Team {number}") for number in range(9)])
    projects = [*teams, Project.objects.default()]
    ids = fill(Activity, COUNT, lambda number: activity(number, projects, owner))
    Cursor.objects.update(value=COUNT)
    read = [ReadMark(activity_id=pk, user=owner) for pk in ids[: COUNT // 2]]
    ReadMark.objects.bulk_create(read, batch_size=BATCH)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return [owner, member_of(projects[0])]


def report(state: str, people: list[Any]) -> None:
    from activity.context import bell_of
    from activity.models import Activity

    print(f"\n{state}")
    for person in people:
        unread = Activity.objects.visible_to(person).unread_by(person)
        print(f"{median_ms(partial(bell_of, person)):8.1f}  the bell of {person}")
        print(f"{median_ms(unread.count):8.1f}  counting all that {person} has not read")


def median_ms(work: Callable[[], Any]) -> float:
    taken = []
    for _ in range(TRIES):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
