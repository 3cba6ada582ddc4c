"""The page in a real browser. Without Playwright or Chromium these tests skip, and say so."""

from __future__ import annotations

import csv
import io
import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("jinja2", reason="jinja2 is not installed")
pytest.importorskip("plotly", reason="plotly is not installed")

from test_html import HOSTILE, written  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SHOWN = " ".join(HOSTILE.split())
NETWORKS = "section[data-table=networks]"
RATIO, PARAMS = 4, 5
"""Places of columns: names, changes, the verdict (empty here, and left out), numbers, input."""

if CHROMIUM is None:
    pytest.skip("no Chromium: apt-get install chromium, or name one in CHROMIUM", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(written(), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    """The page, drawn; afterwards nothing may have been said on the console, nor anything been asked of a network."""
    page = browser.new_page(viewport={"width": 1600, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("html[data-drawn]", timeout=60_000)
    yield page
    page.close()
    assert not said
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [address]


def column(page, number: int) -> list[str]:
    cells = page.locator(f"{NETWORKS} tbody tr:not([hidden]) > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_a_heading_sorts_by_number_and_back(page):
    button = page.locator(f"{NETWORKS} th button[aria-label='params (M)']")
    button.click()
    assert column(page, PARAMS) == ["5.000", "10.00", "20.00", "30.00"]
    button.press("Enter")
    assert column(page, PARAMS) == ["30.00", "20.00", "10.00", "5.000"]
    assert page.locator(f"{NETWORKS} th[aria-sort=descending]").count() == 1


def test_a_heading_of_a_table_within_another_sorts_that_one(page):
    inner = page.locator("section[data-table=outer_0]")
    inner.locator("th button").first.click()
    assert inner.locator("th[aria-sort]").count() == page.locator("th[aria-sort]").count() == 1
    names = inner.locator("tbody th").all_inner_texts()
    assert names == sorted(names, key=str.casefold)


def test_a_filter_hides_rows(page):
    page.locator(f"{NETWORKS} .filter").fill("96 SMALL")
    assert column(page, 1) == ["small input"]
    assert page.locator(f"{NETWORKS} .said").inner_text() == "1 of 4 rows"


def test_all_changes_follow_the_baseline_and_return(page):
    before, note = column(page, 2), page.locator(f"{NETWORKS} > .note").first
    assert note.inner_text() == "Changes are against each network's baseline."
    page.locator(f"{NETWORKS} .baseline").select_option(label="third, 224×224")
    assert column(page, 2) == ["+100.0%", "+200.0%", "", ""]
    assert column(page, RATIO)[0] == "≈0.500"
    assert note.is_hidden()
    page.locator(f"{NETWORKS} .baseline").select_option(value="")
    assert column(page, 2) == before == ["", "+50.0%", "−50.0%", ""]
    assert note.is_visible()


def test_a_number_says_how_it_was_obtained_on_hover_and_on_focus(page):
    cell = page.locator(f"{NETWORKS} tbody tr").nth(1).locator(f":nth-child({PARAMS + 1})")
    cell.hover()
    told = page.locator("#tip").inner_text()
    for part in (SHOWN, "MACs (G)", "unrounded: macs = 1500000000", "input 224×224, batch 1", "multiply-accumulates"):
        assert part in told
    page.mouse.move(0, 0)
    page.locator("#tip").wait_for(state="hidden")
    page.locator(f"{NETWORKS} tbody [tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    for _ in range(PARAMS - 1):
        page.keyboard.press("ArrowRight")
    assert "unrounded: params = 30000000" in page.locator("#tip").inner_text()
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == "tip"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_the_explanation_stays_where_going_to_a_cell_scrolls(page):
    page.set_viewport_size({"width": 380, "height": 700})
    page.locator(f"{NETWORKS} tbody [tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(200)
    assert page.evaluate(f"document.querySelector('{NETWORKS} .scroll').scrollLeft") > 0
    assert "224×224" in page.locator("#tip").inner_text()


def test_columns_hide_and_what_is_copied_is_what_is_shown(page):
    page.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    page.locator(f"{NETWORKS} .columns summary").click()
    page.locator(f"{NETWORKS} .columns input").nth(1).uncheck()
    assert page.locator(f"{NETWORKS} tbody tr > :nth-child(2):visible").count() == 0
    page.locator(f"{NETWORKS} [data-copy=csv]").click()
    read = list(csv.reader(io.StringIO(page.evaluate("window.copied"))))
    assert read[0][:2] == ["model", "macs_change"]
    assert read[0].index("params") == read[2].index("30000000")
    page.locator(f"{NETWORKS} [data-copy=latex]").click()
    copied = page.evaluate("window.copied")
    assert r"third & $-$50.0\% &" in copied
    assert r"\textless{}script\textgreater{}" in copied


def test_latex_keeps_spaces_and_dashes(page):
    page.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    page.locator(f"{NETWORKS} [data-copy=latex]").click()
    assert "1.500 (1.400--1.600)" in page.evaluate("window.copied")


def test_a_third_click_restores_the_order_and_the_address_holds_the_view(page, browser, address):
    before, button = column(page, 1), page.locator(f"{NETWORKS} thead button").nth(1)
    orders = []
    for _ in range(3):
        button.click()
        orders.append(column(page, 1))
    assert orders[0] != orders[1]
    assert orders[2] == before
    button.click()
    page.locator(f"{NETWORKS} .filter").fill("third")
    page.select_option("#across", label="parameters (M)")
    sent = browser.new_page()
    sent.goto(page.url)
    sent.wait_for_selector("html[data-drawn]", timeout=60_000)
    assert column(sent, 1) == column(page, 1) == ["third"]
    assert sent.locator(f"{NETWORKS} [aria-sort=ascending]").count() == 1
    chosen = "[...document.querySelectorAll('#across, #upwards')].map((list) => list.selectedOptions[0].label)"
    assert sent.evaluate(chosen)[0] == "parameters (M)"
    sent.close()
    assert len(set(page.evaluate(chosen))) == 2


@pytest.mark.parametrize("width", [380, 900])
def test_nothing_scrolls_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 700})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_any_two_measures_are_plotted_and_names_stay_text(page):
    page.select_option("#across", label="parameters (M)")
    page.select_option("#upwards", label="time (ms)")
    names = page.locator("#scatter .textpoint").all_text_contents()
    assert SHOWN in names
    assert page.locator("#scatter .scatterlayer .errorbars path").count() >= 3
    assert page.locator("#scatter .scatterlayer .js-line").count() == 1
    page.uncheck("#front")
    assert page.locator("#scatter .scatterlayer .js-line").count() == 0


def test_one_slider_sets_the_share_of_all_fields_before_and_after_training(page):
    maps = page.locator("[data-behind=fields]")
    said = maps.locator("figcaption")
    assert said.nth(0).inner_text().endswith("(10.0–40.0) %")
    shapes = "[...document.querySelectorAll('[data-behind=fields] .map')].map((map) => map.layout.shapes[1].x1)"
    before = page.evaluate(shapes)
    maps.locator("input[type=range]").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert maps.locator("output").inner_text() == "t = 60 %"
    assert all(text.startswith("r(60 %) = ") for text in said.all_inner_texts())
    assert all(now > then for now, then in zip(page.evaluate(shapes), before, strict=True))
    assert SHOWN in maps.locator(".map").nth(0).get_attribute("aria-label")
    maps.locator("select").select_option(label="trained")
    assert [figure.is_visible() for figure in maps.locator("figure").all()] == [False, True]


def test_curves_show_the_measure_and_the_network_that_are_chosen(page):
    curves = page.locator("[data-behind=curves]")
    page.locator("main > details > summary").click()
    page.wait_for_function(
        "document.querySelector('[data-behind=curves] .main-svg').getBoundingClientRect().width > 600"
    )
    assert curves.locator(".scatterlayer .trace").count() == 4
    curves.locator("select").nth(0).select_option(label=SHOWN)
    curves.locator("select").nth(1).select_option(label="plain")
    assert curves.locator(".scatterlayer .trace").count() == 2
    assert curves.locator(".ytitle").text_content() == SHOWN
    curves.locator(".plot").scroll_into_view_if_needed()
    curves.locator(".scatterlayer .point").nth(0).hover(force=True)
    told = curves.locator(".hovertext").text_content()
    assert "plain" in told
    assert "seed 0" in told


def test_hover_names_the_network_and_its_settings_and_arrows_follow_the_baseline(page):
    page.locator("#scatter").scroll_into_view_if_needed()
    page.locator("#scatter .scatterlayer .point").nth(1).hover(force=True)
    told = page.locator("#scatter .hovertext").text_content()
    assert SHOWN.replace(" ", "") in told.replace(" ", "")
    assert "batch 1" in told
    starts = "document.getElementById('scatter').layout.annotations.map(({ ax }) => ax)"
    page.locator(f"{NETWORKS} .baseline").select_option(label="third, 224×224")
    assert set(page.evaluate(starts)) == {
        page.evaluate("data.plot.measures[+document.getElementById('across').value].values[2]")
    }


@pytest.mark.parametrize("width", [380, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_width_and_has_contrast(browser, address, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("html[data-drawn]", timeout=60_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(f"{NETWORKS} td").nth(2).focus()
    violations = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    page.close()
    assert not [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in violations]


def test_print_shows_all_in_black_on_white(browser, address):
    page = browser.new_page(viewport={"width": 718, "height": 900}, color_scheme="dark")
    page.goto(address)
    page.wait_for_selector("html[data-drawn]", timeout=60_000)
    assert page.locator("section[data-table=again] table").is_hidden()
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("section[data-table=again] table").is_visible()  # what was folded away is on paper
    assert page.locator(".tools:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("document.getElementById('scatter').layout.font.color") == "#000000"
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    page.close()
