"""A large file in a real browser: interrupted, gone on with after a reload, and a dataset; and the
files of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import AWAY, Visitor
from tests.e2e.conftest import Site
from tests.registry.files import write_model

pytestmark = pytest.mark.e2e

# More than two parts of the script's 8 MB.
ROW = json.dumps({"prompt": "a" * 40_000, "completion": "b" * 40_000}) + "\n"
ROWS = 250
WHOLE = "19.1 MiB"  # of all rows; what is that large is checked by a worker, later


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text(ROW * ROWS, encoding="utf-8")
    return path


def under_way(page: Page) -> Any:
    return page.locator("#under-way li")


def test_an_interrupted_upload_goes_on_where_it_was(
    site: Site, visitor: Visitor, large: Path
) -> None:
    page = visitor.open("/datasets/new")
    sent: list[int] = []

    def break_off(route: Any) -> None:
        """The second part does not come through."""
        sent.append(int(route.request.headers["upload-offset"]))
        if len(sent) == 2:
            route.abort()
        elif len(sent) == 3:
            return  # hangs, until the page is gone
        else:
            route.continue_()

    page.route("**/api/uploads/*", lambda route: (
        break_off(route) if route.request.method == "PATCH" else route.continue_()
    ))  # fmt: skip
    page.get_by_label("Training file, or an archive of images").set_input_files(large)
    expect(under_way(page)).to_contain_text("%")
    expect(page.get_by_label("Name", exact=True)).to_have_value("train")
    while len(sent) < 3:
        page.wait_for_timeout(50)
    assert sent[0] == 0
    assert sent[1] == sent[2] > 0  # tried again from where it was
    page.on("dialog", lambda dialog: dialog.accept())

    page.goto("/datasets/new")
    row = page.get_by_role("row", name="train.jsonl")
    expect(row).to_contain_text("goes on from there")
    again: list[int] = []
    page.on(
        "request",
        lambda request: (
            again.append(int(request.headers["upload-offset"]))
            if request.method == "PATCH"
            else None
        ),
    )
    page.get_by_label("Training file, or an archive of images").set_input_files(large)
    expect(under_way(page)).to_contain_text("complete", timeout=30_000)
    assert again[0] == sent[1]
    page.get_by_label("Name", exact=True).fill("a large one")
    page.get_by_role("button", name="Create dataset").click()
    page.wait_for_url("**/datasets/*-*")
    expect(page.get_by_role("heading", level=1)).to_contain_text("a large one")
    expect(page.locator("main")).to_contain_text(WHOLE)
    visitor.forgive("ERR_FAILED")


def test_a_server_that_dies_costs_a_part_at_most(site: Site, visitor: Visitor, large: Path) -> None:
    page = visitor.open("/datasets/new")
    page.get_by_label("Training file, or an archive of images").set_input_files(large)
    site.kill()
    expect(under_way(page)).to_contain_text("Interrupted", timeout=30_000)
    site.start()
    expect(under_way(page)).to_contain_text("complete", timeout=60_000)
    page.get_by_role("button", name="Create dataset").click()
    page.wait_for_url("**/datasets/*-*")
    expect(page.locator("main")).to_contain_text(WHOLE)
    visitor.forgive(*AWAY, "ERR_FAILED", "423")


def test_files_are_dropped_where_they_belong(visitor: Visitor) -> None:
    page = visitor.open("/datasets/new")
    held = page.evaluate_handle(
        """(text) => {
            const held = new DataTransfer();
            held.items.add(new File([text], "dropped.jsonl"));
            held.items.add(new File([text], "dropped too.jsonl"));
            return held;
        }""",
        ROW,
    )
    place = page.locator(".drop[data-split=validation]")
    place.dispatch_event("dragover", {"dataTransfer": held})
    expect(place).to_have_attribute("data-over", "")
    place.dispatch_event("dragleave", {"dataTransfer": held})
    expect(place).not_to_have_attribute("data-over", "")
    place.dispatch_event("dragover", {"dataTransfer": held})
    place.dispatch_event("drop", {"dataTransfer": held})
    expect(place).not_to_have_attribute("data-over", "")
    expect(under_way(page)).to_contain_text(["dropped.jsonl", "dropped too.jsonl"])
    expect(under_way(page)).to_contain_text(["complete", "complete"])
    used = page.locator("#under-way input[type=hidden]")
    assert used.evaluate_all("all => all.map((one) => one.value)") == ["validation"] * 2
    expect(page.get_by_label("Name", exact=True)).to_have_value("dropped")
    # Beside the places a file is dropped for the browser, which would leave the page for it.
    for what in ("dragover", "drop"):
        assert page.locator("h1").evaluate(
            """(one, [what, dataTransfer]) => {
                const kind = { dataTransfer, bubbles: true, cancelable: true };
                return !one.dispatchEvent(new DragEvent(what, kind));
            }""",
            [what, held],
        )


def test_a_wrong_file_is_told_at_once(visitor: Visitor, tmp_path: Path) -> None:
    wrong = tmp_path / "train.jsonl"
    wrong.write_text("prompt,completion\na,b\n")
    page = visitor.open("/datasets/new")
    page.get_by_label("Training file, or an archive of images").set_input_files(wrong)
    expect(under_way(page)).to_contain_text("Line 1 of 'train.jsonl' is not JSON.")
    visitor.forgive("400")


def test_without_scripts_the_form_sends_it(visitor: Visitor, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "Hello there, this is a row."}) + "\n")
    page = visitor.open("/datasets/new", java_script_enabled=False)
    page.get_by_label("Training file, or an archive of images").set_input_files(rows)
    page.get_by_label("Name", exact=True).fill("without scripts")
    page.get_by_role("button", name="Create dataset").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("without scripts")


def test_the_files_of_a_model_become_one(visitor: Visitor, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "here")
    page = visitor.open("/models/upload")
    page.get_by_label("The files of the model").set_input_files(sorted(folder.iterdir()))
    expect(under_way(page)).to_have_count(len(list(folder.iterdir())))
    expect(page.get_by_label("Name", exact=True)).to_have_value("")
    page.get_by_label("Name", exact=True).fill("sent by a browser")
    page.get_by_role("button", name="Create model").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("sent by a browser")


def test_a_folder_is_dropped_as_the_files_in_it(visitor: Visitor, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "dropped")
    names = sorted(file.name for file in folder.iterdir())
    (folder / ".cache").mkdir()
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")
    page = visitor.open("/models/upload")
    place = page.locator(".drop").bounding_box()
    assert place is not None
    devtools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        at = {"x": place["x"] + 20, "y": place["y"] + 20}
        devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
    expect(under_way(page)).to_contain_text(["complete"] * len(names))
    assert sorted(page.locator("#under-way .strong").all_inner_texts()) == names
    page.get_by_label("Name", exact=True).fill("dropped in one piece")
    page.get_by_role("button", name="Create model").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("dropped in one piece")
