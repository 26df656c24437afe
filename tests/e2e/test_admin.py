"""A curator at work, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import Visitor
from tests.e2e import rows
from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e


def choose(page: Page, names: list[str], deed: str) -> None:
    """Tick rows of a list and choose what is to be done with them."""
    for name in names:
        page.get_by_role("row", name=name).get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option(label=deed)
    page.get_by_role("button", name="Run", exact=True).click()


def test_a_model_is_promoted_and_the_log_says_by_whom(site: Site, visitor: Visitor) -> None:
    ready = site.do(rows.new_model, "ready", storage_path="/models/ready")
    archived = site.do(rows.new_model, "archived", stage="archived")
    page = visitor.open("/admin/registry/basemodel/")
    choose(page, ["ready", "archived"], "Promote to production")
    expect(page.locator("[data-possible]")).to_have_text("ready")
    expect(page.locator("[data-refused]")).to_contain_text("archived: It is in archived")

    page.get_by_role("button", name="Promote to production").click()
    expect(page.locator("body")).to_contain_text("ready is in production now.")
    assert site.do(rows.stage_of, ready) == "production"
    assert site.do(rows.stage_of, archived) == "archived"

    page.goto("/admin/auditlog/logentry/")
    row = page.get_by_role("row", name="ready").first
    expect(row).to_contain_text("owner")
    expect(row).to_contain_text("stage")
    expect(row).to_contain_text("127.0.0.1")
    row.get_by_role("link").first.click()
    expect(page.get_by_role("row", name="stage")).to_have_text('stage"staging""production"')


def test_a_dataset_is_checked_again(site: Site, visitor: Visitor) -> None:
    folder: Path = site.home / "datasets" / "dates"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    dataset = site.do(rows.new_dataset, "dates", str(folder))
    page = visitor.open(f"/admin/registry/dataset/{dataset}/change/")
    page.get_by_role("link", name="Check integrity again").click()
    expect(page.locator("body")).to_contain_text("Read all files again?")
    page.get_by_role("button", name="Check integrity again").click()
    expect(page.locator("body")).to_contain_text("checked, 2 rows, all is well")
    assert page.url.endswith(f"/{dataset}/change/")


def test_a_job_is_cancelled(site: Site, visitor: Visitor) -> None:
    job = site.do(rows.new_job, "not wanted", "QUEUED")
    done = site.do(rows.new_job, "done already", "COMPLETED")
    page = visitor.open("/admin/training/job/")
    choose(page, ["not wanted", "done already"], "Cancel job")
    expect(page.locator("[data-refused]")).to_contain_text("done already: It is COMPLETED already.")
    page.get_by_role("button", name="Cancel job").click()
    expect(page.locator("body")).to_contain_text("not wanted is cancelled.")
    assert site.do(rows.status_of, job) == "CANCELLED"
    assert site.do(rows.status_of, done) == "COMPLETED"


def test_the_dashboard_draws_how_jobs_ended(site: Site, visitor: Visitor) -> None:
    site.do(rows.new_job, "failed", "FAILED")
    page = visitor.open("/admin/")
    page.wait_for_function("Chart.getChart(document.querySelector('canvas.chart')) !== undefined")
    drawn = "Chart.getChart(document.querySelector('canvas.chart')).data.datasets[1].data.at(-1)"
    assert page.evaluate(drawn) >= 1
    page.get_by_role("link", name="Base models").first.click()
    expect(page).to_have_url(f"{site.address}/admin/registry/basemodel/")
