"""Before anything is started: is this home ours, is the port free, is the database up to date?"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connections

from accounts.models import User

# sun_path in sockaddr_un, less its closing zero byte.
SOCKET_PATH_LIMIT_BYTES = 107 if sys.platform == "linux" else 103
ADMIN = "admin"


class CannotStart(Exception):
    """What stands in the way, as a sentence for whoever typed the command."""


def hold(home: Path) -> IO[str]:
    """Take this home for one instance: as long as the file that is returned stays open.

    Raises CannotStart when another instance has it. The kernel lets go however we end.
    """
    (home / "run").mkdir(parents=True, exist_ok=True)
    lock = (home / "run" / "lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise CannotStart(
            f"Trainyard is already running with TRAINYARD_HOME={home} (process {holder}). "
            "Stop it first, or give this one another TRAINYARD_HOME and PORT."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def refuse_a_taken_port(port: int, target: str = "run") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotStart(
                f"Port {port} of 127.0.0.1 cannot be had ({error.strerror}). "
                f"Choose another: PORT={port + 1} make {target}"
            ) from error


def refuse_a_long_socket_path(path: Path) -> None:
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LIMIT_BYTES:
        raise CannotStart(
            f"The path {path} has {length} bytes, and a Unix socket's may have "
            f"{SOCKET_PATH_LIMIT_BYTES}. Choose a shorter TRAINYARD_HOME, or set REDIS_URL."
        )


def empty_folder(path: Path) -> Path:
    """For temporary files. What an instance left there that was killed is removed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def prepare_database() -> None:
    """Migrate, make or update the administrator, and let go of the connections."""
    try:
        call_command("migrate", verbosity=0, interactive=False)
    except OperationalError as error:
        raise CannotStart(f"The database does not answer: {error}") from error
    if settings.TRAINYARD_ADMIN_PASSWORD:
        keep_admin(settings.TRAINYARD_ADMIN_PASSWORD)
    connections.close_all()


def keep_admin(password: str) -> User:
    """The user ``admin`` can do everything and has this password."""
    admin, _ = User.objects.get_or_create(username=ADMIN)
    admin.is_staff = admin.is_superuser = admin.is_active = True
    if not admin.check_password(password):  # a new hash would end every session
        admin.set_password(password)
    admin.save()
    return admin
