"""``python -m benchmarks.latency.fill COUNT``: an empty database gets this many of each.

Base models, datasets and activities as an installation of some age has them: cards of two
kilobytes, configs, statistics; ten projects, and half of the feed is read. Prints as JSON what the
requests need to know.
"""

from __future__ import annotations

import json
import os
import random
import sys
from datetime import timedelta
from importlib import import_module
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainyard.settings")
django.setup()

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts.local import local_owner
from accounts.models import Membership, Project, User
from activity.models import Activity, Cursor, EntityType, EventType, ReadMark
from benchmarks.latency.words import PURPOSES, RARE, base_model_words
from registry.models import BaseModel, Dataset, Modality, Stage

BATCH = 2000
CARD = "# {name}\n\n" + "Trained on public text, evaluated on held-out rows of the same kind. " * 30
CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rope_scaling": {"type": "linear", "factor": 2.0},
    "eos_token_id": [2, 32000],
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
STATISTICS = {
    "splits": ["train", "validation"],
    "num_splits": 2,
    "rows": {"train": 51000, "validation": 1000},
    "row_format": "prompt_completion",
    "columns": {"prompt": "string", "completion": "string"},
    "mean_characters": 812.4,
    "max_characters": 9120,
}


def main(count: int) -> None:
    call_command("migrate", verbosity=0, interactive=False)
    random.seed(count)
    owner = local_owner()
    teams = Project.objects.bulk_create([Project(name=f"Team {number}") for number in range(9)])
    projects = [*teams, Project.objects.default()]
    models = fill(BaseModel, count, lambda number: base_model(number, count, projects))
    datasets = fill(Dataset, count, lambda number: dataset(number, count, projects))
    activities = fill(Activity, count, lambda number: activity(number, projects, owner))
    Cursor.objects.update(value=count)
    read = [ReadMark(activity_id=pk, user=owner) for pk in activities[: count // 2]]
    ReadMark.objects.bulk_create(read, batch_size=BATCH)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    facts = {
        "count": count,
        "model": str(models[count // 2]),
        "dataset": str(datasets[count // 2]),
        "activity": str(activities[count // 2]),
        "project": str(projects[0].pk),
        "rare": RARE,
        "deep": count - 50,
        "cookie": f"{settings.SESSION_COOKIE_NAME}={signed_in(member_of(projects[0]))}",
    }
    print(json.dumps(facts))


def fill(model: Any, count: int, row: Any) -> list[Any]:
    """The ids, oldest first, a minute apart."""
    model._meta.get_field("created_at").auto_now_add = False
    now, ids = timezone.now(), []
    for begin in range(0, count, BATCH):
        rows = [row(number) for number in range(begin, min(begin + BATCH, count))]
        for number, entry in enumerate(rows, begin):
            entry.created_at = now - timedelta(minutes=count - number)
        model.objects.bulk_create(rows)
        ids += [entry.pk for entry in rows]
    return ids


def base_model(number: int, count: int, projects: list[Project]) -> BaseModel:
    words = base_model_words(number, count)
    return BaseModel(
        project=random.choice(projects),
        name=words.name,
        family=words.family,
        description=words.description,
        params_b=7.0,
        dtype="bfloat16",
        context_length=4096,
        hidden_size=4096,
        num_layers=32,
        vocab_size=32000,
        architecture="LlamaForCausalLM",
        modality=random.choice(Modality.values),
        trainable=random.random() < 0.8,
        servable=random.random() < 0.9,
        stage=random.choice(Stage.values),
        storage_path=f"/srv/models/{words.name}",
        size_bytes=13_900_000_000,
        checksum=f"{number:064x}",
        tags=[words.family, words.purpose],
        metadata={"config": CONFIG, "inspection": {"has_chat_template": True}},
        model_card=CARD.format(name=words.name),
    )


def dataset(number: int, count: int, projects: list[Project]) -> Dataset:
    purpose = random.choice(PURPOSES)
    name = f"{purpose}-{random.choice(('pairs', 'turns', 'pages', 'clips'))}-{number}"
    return Dataset(
        project=random.choice(projects),
        name=f"{name}-{RARE}" if number == count // 3 else name,
        description=f"Rows for {purpose}, delivery {number} of team {number % 97}, cleaned.",
        modality=random.choice(Modality.values),
        num_samples=52_000,
        size_bytes=25_000_000,
        storage_path=f"/srv/datasets/{name}",
        manifest_path=f"/srv/datasets/{name}/manifest.jsonl",
        checksum=f"{number:064x}",
        integrity_checked=True,
        integrity_passed=number % 10 != 0,
        integrity_report={"findings": [], "rows": 52_000},
        statistics=STATISTICS,
        row_format="prompt_completion",
        is_split=True,
        tags=[purpose],
    )


def activity(number: int, projects: list[Project], owner: User) -> Activity:
    event = random.choice(EventType.values)
    entity = event.split("_")[0]
    return Activity(
        cursor=number + 1,
        event_type=event,
        entity_type=entity if entity in EntityType.values else EntityType.JOB,
        entity_id=random.choice(projects).pk,
        title=f"{event}: number {number}",
        message="Successfully completed the training job in 2h 34m",
        user=owner,
        project=random.choice(projects),
        metadata={"job_name": f"job {number}", "duration_seconds": 9240},
    )


def member_of(project: Project) -> User:
    member = User.objects.create_user("member")
    Membership.objects.create(project=project, user=member)
    return member


def signed_in(user: User) -> str:
    """The key of a session of theirs."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


if __name__ == "__main__":
    main(int(sys.argv[1]))
