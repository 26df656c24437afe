"""What belongs to nobody goes; what anybody refers to stays, whatever it is called."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from django.core.management import call_command

from accounts.models import Project, User
from registry import files, garbage, services, store, tasks
from registry.models import Dataset
from tests.factories import make_dataset, make_job, make_model
from tests.registry.files import write_rows

pytestmark = pytest.mark.django_db
LATER = time.time() + 3600


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"12345")
    return folder


@pytest.fixture
def orphans(home: Path) -> list[Path]:
    """One of each kind that is nobody's."""
    nobody = str(uuid.uuid4())
    paths = [
        home / "models" / f"{nobody}.manifest.jsonl",
        home / "datasets" / f".{nobody}.manifest.jsonl.{uuid.uuid4().hex}",
        home / "uploads" / "tmpab12.upload.jsonl",
    ]
    for path in paths:
        path.write_bytes(b"1")
    return [fill(home / at / nobody) for at in ("datasets", "exports", "runs")] + paths


def test_what_is_nobodys_goes(orphans):
    done = garbage.collect(LATER)
    assert {leftover.path for leftover in done.leftovers} == set(orphans)
    assert done.size_bytes == 3 * 5 + 3
    assert not any(path.exists() for path in orphans)


def test_what_has_changed_of_late_stays(orphans):
    assert garbage.collect(time.time() - 3600).leftovers == []
    assert all(path.exists() for path in orphans)


def test_a_young_file_keeps_its_folder(orphans):
    long_ago = time.time() - 10 * 86_400
    for path in orphans:
        os.utime(path, (long_ago, long_ago))
    assert garbage.collect(time.time() - 3600).leftovers == []  # ctime cannot be set back


def test_a_dry_run_only_tells(orphans):
    assert len(garbage.collect(LATER, dry_run=True).leftovers) == len(orphans)
    assert all(path.exists() for path in orphans)


def test_what_a_row_refers_to_stays(home, project):
    job, dataset, model = make_job(), make_dataset(), make_model()
    gone = uuid.uuid4()
    kept = [
        fill(home / "runs" / str(job.pk)),
        fill(home / "exports" / str(job.pk) / "safetensors"),
        fill(home / "datasets" / str(dataset.pk)),
        fill(home / "models" / str(model.pk)),
        # Its job is gone, its result is not.
        fill(home / "exports" / str(gone) / "gguf"),
        fill(home / "models" / "by hand"),
    ]
    make_model(storage_path=str(home / "exports" / str(gone) / "gguf" / "file"))
    elsewhere = fill(home / "datasets" / str(uuid.uuid4()))
    make_model(tokenizer_path=str(elsewhere / "tokenizer"))
    assert garbage.collect(LATER).leftovers == []
    assert all(path.exists() for path in (*kept, elsewhere))


def test_a_deleted_upload_leaves_nothing_and_what_it_shared_stays(home, root, project):
    first, second = [upload(home, root, project, name) for name in ("a", "b")]
    assert Path(first.storage_path, "train.jsonl").samefile(
        Path(second.storage_path, "train.jsonl")
    )
    services.delete(first)
    assert garbage.collect(LATER).copies == 0
    assert services.verify_files(second) == []
    services.delete(second)
    assert garbage.collect(LATER).copies == 1
    assert list(store.copies()) == []


def upload(home: Path, root: User, project: Project, name: str) -> Dataset:
    temporary = write_rows(home / "uploads" / "tmp", [{"text": "a"}])
    sha256 = files.facts_of(temporary)["sha256"]
    return services.receive_upload(
        user=root, project=project, name=name, temporary=temporary, file_name="x.jsonl",
        sha256=sha256,
    )  # fmt: skip


def test_a_collection_that_was_killed_is_finished_by_the_next(home):
    half = fill(home / "models" / ".trash-0123")
    garbage.collect(0)
    assert not half.exists()


def test_two_at_once_do_no_harm(orphans, monkeypatch):
    found = garbage.leftovers(LATER)
    garbage.collect(LATER)
    monkeypatch.setattr(garbage, "leftovers", lambda older_than: found)
    assert garbage.collect(LATER).leftovers == []


def test_the_command_tells_what_goes(orphans, capsys, settings):
    call_command("collect_garbage", dry_run=True, grace_hours=-1)
    told = capsys.readouterr().out
    assert all(str(path) in told for path in orphans)
    assert "6 leftovers and 0 unused files of the store would be removed: 18 bytes." in told
    call_command("collect_garbage", grace_hours=-1)
    assert "were removed" in capsys.readouterr().out


def test_the_periodic_task_keeps_the_grace_time(orphans):
    tasks.collect_garbage()
    assert all(path.exists() for path in orphans)


def test_a_writer_that_is_killed_anywhere_loses_nothing(home):
    """A process that adopts the same folders over and over is killed; every file is whole."""
    folders = [fill(home / "exports" / f"{n}") for n in range(20)]
    program = (
        "import django; django.setup()\n"
        "from django.conf import settings; from pathlib import Path\n"
        "from registry import files, store\n"
        f"settings.TRAINYARD_HOME = Path({str(home)!r})\n"
        "while True:\n"
        "    print('a round', flush=True)\n"
        "    for n in range(20):\n"
        f"        folder = Path({str(home / 'exports')!r}) / str(n)\n"
        "        store.adopt(folder, files.manifest(folder))\n"
        "        (folder / 'new').write_bytes(b'12345')\n"
        "        (folder / 'new').replace(folder / 'file')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "trainyard.settings"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert all((folder / "file").read_bytes() == b"12345" for folder in folders)
    garbage.collect(LATER)
    assert all((folder / "file").read_bytes() == b"12345" for folder in folders)
    assert not any((store.folder() / "incoming").glob("*"))
