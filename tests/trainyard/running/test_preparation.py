from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import User
from trainyard.running import preparation
from trainyard.running.preparation import CannotStart


def test_a_home_is_held_until_it_is_let_go(tmp_path: Path) -> None:
    lock = preparation.hold(tmp_path)
    with pytest.raises(CannotStart, match="already running"):
        preparation.hold(tmp_path)
    lock.close()
    preparation.hold(tmp_path).close()


def test_two_homes_are_held_by_two(tmp_path: Path) -> None:
    with preparation.hold(tmp_path / "a"), preparation.hold(tmp_path / "b"):
        pass


def test_a_path_too_long_for_a_socket_is_refused_with_a_way_out() -> None:
    longest = preparation.SOCKET_PATH_LIMIT_BYTES
    preparation.refuse_a_long_socket_path(Path("/" + "x" * (longest - 1)))
    with pytest.raises(CannotStart, match="a shorter TRAINYARD_HOME, or set REDIS_URL"):
        preparation.refuse_a_long_socket_path(Path("/" + "x" * longest))


def test_a_path_is_measured_in_bytes() -> None:
    with pytest.raises(CannotStart):
        preparation.refuse_a_long_socket_path(
            Path("/" + "ü" * (preparation.SOCKET_PATH_LIMIT_BYTES - 2))
        )


@pytest.mark.django_db
def test_the_administrator_is_made_and_can_sign_in() -> None:
    preparation.keep_admin("correct horse")
    admin = User.objects.get(username="admin")
    assert admin.check_password("correct horse")
    assert admin.is_superuser
    assert admin.is_staff


@pytest.mark.django_db
def test_the_same_password_again_ends_no_session() -> None:
    before = preparation.keep_admin("correct horse").password
    assert preparation.keep_admin("correct horse").password == before


@pytest.mark.django_db
def test_another_password_replaces_the_one_before() -> None:
    preparation.keep_admin("correct horse")
    admin = preparation.keep_admin("battery staple")
    assert admin.check_password("battery staple")
    assert User.objects.filter(username="admin").count() == 1


@pytest.mark.django_db
def test_an_administrator_who_was_locked_out_is_let_in_again() -> None:
    User.objects.create_user("admin", is_active=False)
    assert preparation.keep_admin("correct horse").is_active


def test_what_an_instance_left_in_its_temporary_folder_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    (folder / "left").touch()
    assert list(preparation.empty_folder(folder).iterdir()) == []


def test_no_administrator_is_made_without_a_password() -> None:
    assert settings.TRAINYARD_ADMIN_PASSWORD == ""
