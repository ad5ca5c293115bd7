"""The report in a real browser, from files, without a network: errors, sorting, keyboard, narrow and dark."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from reprolib.papers import catalog

_spec = importlib.util.spec_from_file_location("chromium", Path(__file__).with_name("chromium.py"))
chromium = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(chromium)

EXECUTABLE = chromium.find()
DRIVER = importlib.util.find_spec("playwright") is not None
pytestmark = [
    pytest.mark.skipif(EXECUTABLE is None, reason=chromium.NONE),
    pytest.mark.skipif(not DRIVER, reason="playwright is not installed: pip install -r requirements-browser.txt"),
]
PAGES = (
    "index.html",
    "claims.html",
    "tables.html",
    "systems.html",
    "audit.html",
    "papers/iemask_rcnn.html",
    "tables/iemask_rcnn-3.html",
    "tables/mai_se_net-1.html",
    "tables/insight_any_instance-1.html",
    "systems/mask-r-cnn.html",
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=EXECUTABLE, args=["--disable-gpu"], env=chromium.environment(EXECUTABLE), timeout=60_000
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser, report):
    """Function that opens a page of the report; any error in the browser fails the test."""
    contexts, errors = [], []

    def opened(name: str, *, width: int = 1280, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(15_000)
        page.on("requestfailed", lambda request: errors.append(request.url))
        page.goto((report / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def column(page, table: int, index: int) -> list[str]:
    return page.evaluate(
        "([table, index]) => [...document.querySelectorAll('table.sortable')[table].tBodies[0].rows]"
        ".map(row => row.cells[index].textContent.trim())",
        [table, index],
    )


@pytest.mark.parametrize("name", PAGES)
def test_pages_open_without_errors_and_fit_wide_and_narrow(open_page, name):
    for width in (1280, 400):
        page = open_page(name, width=width)
        assert page.title().endswith("reprolib, demo")
        assert page.locator("main h1").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_click_sorts_by_number_then_the_other_way_then_as_printed(open_page):
    page = open_page("tables/iemask_rcnn-3.html")
    printed = column(page, 0, 7)
    head = page.locator("table.sortable").first.locator("th[data-column='7']")
    numbers = [float(text) for text in printed]
    assert numbers != sorted(numbers)
    for state, expected in (("ascending", sorted(numbers)), ("descending", sorted(numbers, reverse=True))):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == state
        assert [float(text) for text in column(page, 0, 7)] == expected
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "none" and column(page, 0, 7) == printed


def test_what_has_no_number_stays_last(open_page):
    page = open_page("tables/iemask_rcnn-3.html")
    head = page.locator("table.sortable").first.locator("th[data-column='8']")
    for _ in range(2):
        head.locator("button").click()
        texts = column(page, 0, 8)
        assert texts.count("–") == len(texts) - 3 and set(texts[3:]) == {"–"}
    assert [float(text) for text in texts[:3]] == sorted((float(text) for text in texts[:3]), reverse=True)


def test_minus_signs_sort_as_negative(open_page):
    page = open_page("tables/iemask_rcnn-3.html")
    page.locator("table.sortable").first.locator("th[data-column='10'] button").click()
    found = [float(text.replace("−", "-")) for text in column(page, 0, 10) if text != "–"]
    assert min(found) < 0 and found == sorted(found)


def test_words_sort_by_alphabet_and_only_one_column_is_marked(open_page):
    page = open_page("systems.html")
    table = page.locator("table.sortable").first
    table.locator("th[data-column='3'] button").click()
    table.locator("th[data-column='1'] button").click()
    words = [text for text in column(page, 0, 1) if text != "–"]
    assert words == sorted(words)
    assert table.locator("th[aria-sort='ascending']").count() == 1


def test_the_keyboard_reaches_and_sorts(open_page):
    page = open_page("tables.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    head = page.locator("table.sortable th[data-column='2']")
    for _ in range(12):
        page.keyboard.press("Tab")
        if head.evaluate("cell => cell.firstElementChild === document.activeElement"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "descending"
    rows = [int(text) for text in column(page, 0, 2)]
    assert rows == sorted(rows, reverse=True) and len(rows) == len(catalog.all_tables())


def test_a_wide_table_scrolls_by_keyboard_in_its_own_container(open_page):
    page = open_page("tables/iemask_rcnn-3.html", width=400)
    region = page.locator(".scroll:has(table)").first
    assert region.get_attribute("tabindex") == "0" and region.get_attribute("aria-label")
    region.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.scroll:has(table)').scrollLeft > 0")
    first = region.locator("tbody th.stay").first.bounding_box()
    assert first["x"] < 400 - first["width"]  # the system's name stays in sight


def test_a_tile_leads_to_its_claim_and_a_row_to_its_record(open_page, content):
    page = open_page("index.html")
    page.locator(".tiles a").first.click()
    claim = page.url.rpartition("#")[2]
    assert page.locator(f"tr#{claim} th").inner_text() == claim
    page.locator(f"tr#{claim} a[href*='tables/']").first.click()
    page.wait_for_url("**/tables/*.html#row-*")
    assert page.locator("tr:target").count() == 1
    link = open_page("tables/iemask_rcnn-3.html").locator("#row-2 a[aria-label^='record of']")
    assert link.get_attribute("href").endswith("/records/coco-iemask_rcnn_r50-cem-0.json")


def test_a_mark_of_the_scatter_leads_to_its_system(open_page):
    page = open_page("systems.html")
    page.locator("svg a").first.click()
    page.wait_for_url("**/systems/*.html")
    assert page.locator("main h1").count() == 1


def test_dark_and_light_follow_the_reader(open_page):
    seen = {}
    for scheme in ("light", "dark"):
        page = open_page("systems.html", scheme=scheme)
        seen[scheme] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('svg text')).fill]"
        )
    assert seen == {
        "light": ["rgb(255, 255, 255)", "rgb(27, 27, 27)"],
        "dark": ["rgb(21, 23, 26)", "rgb(237, 237, 237)"],
    }
