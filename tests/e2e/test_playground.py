"""A prompt and its answer in a real browser, with scripts and without."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import AWAY, Visitor
from tests.e2e import rows
from tests.e2e.conftest import Site

pytestmark = pytest.mark.e2e


def ask(page: Page, words: str) -> str:
    """The prompt's id, once its page is there."""
    page.get_by_role("textbox", name="Prompt", exact=False).first.fill(words)
    before = page.url
    page.get_by_role("button", name="Ask").click()
    page.wait_for_url(lambda url: url != before and "/playground/" in url)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return page.url.rpartition("/")[2]


def test_words_come_as_they_are_written_and_the_talk_goes_on(site: Site, visitor: Visitor) -> None:
    model = site.do(rows.new_talker, "talker")
    page = visitor.open(f"/playground?model={model}")
    first = ask(page, "Hello")
    said = page.locator("#text-base")
    site.do(rows.answer_as_far_as, first, "Good")
    expect(said).to_have_text("Good")
    expect(page.locator("[data-live=facts-base]")).to_have_text("Writing…")
    site.do(rows.answer_as_far_as, first, "Good day 👋 to")
    expect(said).to_have_text("Good day 👋 to")
    site.do(rows.answer_as_far_as, first, "Good day 👋 to you.", whole=True)
    expect(said).to_have_text("Good day 👋 to you.")
    expect(page.get_by_role("status").locator(".badge")).to_have_text("Completed")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)

    second = ask(page, "And you?")
    assert second != first
    assert site.do(rows.messages_of, second) == ["Hello", "Good day 👋 to you.", "And you?"]
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status").locator(".badge")).to_have_text("Cancelled")


def test_both_answers_come_beside_each_other(site: Site, visitor: Visitor) -> None:
    adapter = site.do(rows.new_tuned_talker, "tuned talker")
    page = visitor.open(f"/playground?adapter={adapter}")
    page.get_by_label("Ask the base model, too").check()
    asked = ask(page, "When is it?")
    expect(page.get_by_role("heading", level=1)).to_have_text("Base against tuned")
    tuned, base = page.locator("#text-tuned"), page.locator("#text-base")
    site.do(rows.answer_all_as_far_as, asked, {"tuned": "On", "base": "It"})
    expect(tuned).to_have_text("On")
    expect(base).to_have_text("It")
    site.do(rows.answer_all_as_far_as, asked, {"tuned": "On 07-04", "base": "It is a day"})
    expect(tuned).to_have_text("On 07-04")
    expect(base).to_have_text("It is a day")
    answers = {"tuned": "On 07-04.", "base": "It is a day on which"}
    site.do(rows.answer_all_as_far_as, asked, answers, whole=True)
    for side, text in answers.items():
        expect(page.locator(f"#text-{side}")).to_have_text(text)
        expect(page.locator(f"[data-live=facts-{side}]")).to_contain_text("tokens in 0.5 s")
    assert page.evaluate(
        "document.querySelector('#text-tuned').getBoundingClientRect().top"
        " === document.querySelector('#text-base').getBoundingClientRect().top"
    )


def test_without_scripts_the_page_fetches_itself_until_the_answer_is_there(
    site: Site, visitor: Visitor
) -> None:
    model = site.do(rows.new_talker, "quiet talker")
    page = visitor.open(f"/playground?model={model}", java_script_enabled=False)
    asked = ask(page, "Hello")
    expect(page.get_by_role("status").locator(".badge")).to_have_text("Queued")
    site.do(rows.answer_as_far_as, asked, "Good day.", whole=True)
    expect(page.locator("#text-base")).to_have_text("Good day.", timeout=10_000)
    expect(page.get_by_role("status").locator(".badge")).to_have_text("Completed")


def test_a_cut_line_loses_no_word(site: Site, visitor: Visitor) -> None:
    model = site.do(rows.new_talker, "talker on a bad line")
    page = visitor.open(f"/playground?model={model}")
    asked = ask(page, "Hello")
    site.do(rows.answer_as_far_as, asked, "One two")
    expect(page.locator("#text-base")).to_have_text("One two")
    site.kill()
    site.do(rows.answer_as_far_as, asked, "One two three four")
    site.start()
    expect(page.locator("#text-base")).to_have_text("One two three four", timeout=30_000)
    visitor.forgive(*AWAY)
