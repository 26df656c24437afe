"""Images whose bytes were changed anywhere: the doctor answers in bounded time and says nothing but
that they can be read, or cannot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from api.plain import is_plain
from registry import doctor
from tests.registry.photos import photo

# Pillow says by warnings what it leaves out: a worker writes them into its log.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")

FUZZ = settings(
    max_examples=80,
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
SMALL = photo(1, (24, 18))


def encoded(kind: str, mode: str = "RGB", **how: Any) -> bytes:
    content = io.BytesIO()
    SMALL.convert(mode).save(content, kind, **how)
    return content.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    return exif


def animated() -> bytes:
    content = io.BytesIO()
    frames = [photo(number, (24, 18)).convert("P") for number in range(2)]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], transparency=3)
    return content.getvalue()


SEEDS = {
    "photo.jpg": encoded("JPEG", exif=turned()),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "printed.jpeg": encoded("JPEG", "CMYK"),
    "moving.gif": animated(),
    "photo.webp": encoded("WEBP", exif=turned()),
    "lossless.webp": encoded("WEBP", lossless=True),
    "photo.bmp": encoded("BMP"),
    "coloured.bmp": encoded("BMP", "P"),
    "photo.png": encoded("PNG"),
    "coloured.png": encoded("PNG", "P", transparency=b"\x00\x80"),
    "packed.tif": encoded("TIFF", compression="tiff_lzw", exif=turned()),
}
# Where, what instead, and how many bytes of what was there go.
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 200) | st.integers(0, 5000),
        st.sampled_from([b"", b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"])
        | st.binary(max_size=8),
        st.integers(0, 8) | st.just(5000),
    ),
    max_size=5,
)


def changed(content: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    for place, instead, gone in changes:
        at = place % (len(content) + 1)
        content = content[:at] + instead + content[at + gone :]
    return content


@pytest.mark.parametrize("name", SEEDS)
@FUZZ
@given(changes=CHANGES)
def test_an_image_of_any_bytes_never_breaks_the_doctor(
    tmp_path: Path, name: str, changes: list[tuple[int, bytes, int]]
):
    (tmp_path / "cat").mkdir(exist_ok=True)
    (tmp_path / "cat" / name).write_bytes(changed(SEEDS[name], changes))
    report = doctor.check_images(tmp_path)
    assert is_plain(report.integrity_report)
    assert report.num_samples + report.findings.counts["bad_image"] == 1
    if not changes:
        assert report.num_samples == 1


def test_an_image_that_unpacks_to_gigabytes_is_refused(tmp_path: Path):
    """A bitmap of a few bytes whose header says 60,000 by 60,000."""
    (tmp_path / "cat").mkdir()
    content = bytearray(SEEDS["photo.bmp"])
    content[18:26] = (60_000).to_bytes(4, "little") * 2
    (tmp_path / "cat" / "bomb.bmp").write_bytes(content)
    (found, *_) = doctor.check_images(tmp_path).findings.kept
    assert found.code == "bad_image"
    assert "decompression bomb" in found.message
