"""The dashboard in a real browser, beside a real sweep: it moves, keeps what a reader has set, and says what died.

Needs Debian's Chromium (`apt-get install chromium`); nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_cases import BEGAN, ROOT, serving, write_trial
from dashboard_cases import write_study as write_ended_study
from training_cases import make_store, write_study

from scbig_dist.cluster.ray_token import find_token
from scbig_dist.dashboard.cluster import read_cluster

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"),
]
RANGE = "() => document.querySelectorAll('.js-plotly-plot')[1]._fullLayout.xaxis.range.map(Number)"
TOP = "() => document.querySelectorAll('.js-plotly-plot')[1].getBoundingClientRect().top"
POINTS = "() => document.querySelectorAll('.js-plotly-plot')[1].data.reduce((n, t) => n + t.x.length, 0)"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study of four trials, two at a time, that runs for the time of these tests."""
    folder = tmp_path_factory.mktemp("sweep")
    store, out = make_store(folder), folder / "live"
    fixed = {"flow.steps": 6000, "flow.validate_every": 200, "train.checkpoint_every": 100}
    study = write_study(folder / "s.py", axes={"flow.lr": [2e-3, 1e-3, 5e-4, 2e-4]}, fixed=fixed)
    code = "import sys; from scbig_dist.cli import main; sys.argv[0] = 'scbig'; main()"
    command = [sys.executable, "-c", code, "sweep", str(study), "--store", str(store), "-o", str(out)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, env=env, start_new_session=True)
    try:
        wait_for(lambda: any(out.glob("trials/*/metrics.jsonl")), process, folder / "log")
        yield out
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)


def wait_for(happened: Callable[[], Any], process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that is over: eight trials, one of them failed."""
    path = write_ended_study(tmp_path_factory.mktemp("ended") / "ended", n_trials=8)
    for i in range(8):
        values = {"grc.n_modules": [4, 8][i % 2], "gcae.n_inducing": [2, 4, 8][i % 3]}
        status = "failed" if i == 7 else "finished"
        write_trial(path, f"000{i}", None if i == 7 else 0.5 + 0.03 * i, status, values=values, began=BEGAN + 60 * i)
    return path


@pytest.fixture(scope="module")
def url(sweep: Path, ended: Path) -> Iterator[str]:
    with serving(sweep, ended) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A page that must neither report an error nor ask another machine for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: (
            wrong.append(request.url) if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")) else None
        ),
    )
    yield page
    context.close()
    assert not wrong


def test_progress_moves_and_the_zoom_stays(tab, url):
    tab.goto(f"{url}/study/live")
    tab.wait_for_function("() => /running/.test(document.querySelector('.tiles')?.textContent)")
    tab.wait_for_function(
        "() => document.querySelectorAll('.js-plotly-plot')[1]?._fullLayout && document.querySelectorAll('.js-plotly-plot')[1].data.length"
    )
    box = tab.locator(".js-plotly-plot").nth(1).locator(".nsewdrag").first.bounding_box()
    y = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + 0.2 * box["width"], y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.7 * box["width"], y, steps=4)
    tab.mouse.up()
    zoomed, points = tab.evaluate(RANGE), tab.evaluate(POINTS)
    tab.evaluate("() => window.scrollTo(0, 300)")
    top = tab.evaluate(TOP)
    tab.wait_for_function(f"() => ({POINTS})() > {points}", timeout=30_000)
    assert tab.evaluate(RANGE) == pytest.approx(zoomed), "the zoom outlives an update"
    assert tab.evaluate(TOP) == pytest.approx(top, abs=2), "what the reader looks at stays where it is in the window"


def test_a_killed_worker_shows(tab, url, sweep):
    tab.goto(f"{url}/study/live/cluster")
    tab.wait_for_function(
        "() => /as http:..127.0.0.1/.test(document.querySelector('#page')?.textContent ?? '')", timeout=30_000
    )
    assert "it starts when a running trial ends" in tab.inner_text("#page") or "No trial waits" in tab.inner_text(
        "#page"
    )
    address = json.loads((sweep / "ray.json").read_text())["dashboard"]
    alive = [
        a.pid for a in read_cluster(address, find_token(os.environ, Path.home())).actors if a.state == "ALIVE" and a.pid
    ]
    assert alive, "a trial's process of this sweep"
    os.kill(alive[0], signal.SIGKILL)
    tab.wait_for_function("() => /died:/.test(document.querySelector('#page')?.textContent ?? '')", timeout=40_000)


def test_the_table_sorts_filters_searches_and_leads_on(tab, url):
    tab.goto(f"{url}/study/ended/trials")
    rows = tab.locator(".ag-center-cols-container .ag-row")
    tab.wait_for_function("() => document.querySelectorAll('.ag-center-cols-container .ag-row').length === 8")
    names = ".ag-pinned-left-cols-container [col-id=trial]"
    first = "() => [...document.querySelectorAll('.ag-pinned-left-cols-container [col-id=trial]')].sort((a, b) => a.closest('.ag-row').getAttribute('row-index') - b.closest('.ag-row').getAttribute('row-index'))[0].textContent"  # fmt: skip
    assert tab.evaluate(first) == "0006", "best first"
    tab.locator(".ag-header-cell[col-id=trial] .ag-header-cell-label").click()
    tab.wait_for_function(f"() => ({first})() === '0000'")
    tab.wait_for_function("() => location.search.includes('sort=trial.asc')")
    tab.fill("input[type=search]", "failed")
    tab.wait_for_function("() => document.querySelectorAll('.ag-center-cols-container .ag-row').length === 1")
    address = tab.url
    assert "search=failed" in address
    tab.goto(address)  # the address names the view
    tab.wait_for_function("() => document.querySelectorAll('.ag-center-cols-container .ag-row').length === 1")
    assert tab.input_value("input[type=search]") == "failed" and rows.count() == 1
    tab.locator(f"{names} a").first.click()
    tab.wait_for_function("() => /Trial 0007/.test(document.querySelector('h2')?.textContent)")
    tab.wait_for_function("() => document.title === 'trial 0007 · trial · ended · scbig'")


def test_the_table_comes_when_it_is_asked_for_before_its_script_is_there(tab, url):
    tab.goto(f"{url}/study/ended")
    tab.click(".links a[href$='/trials']")
    tab.wait_for_function("() => document.querySelectorAll('.ag-center-cols-container .ag-row').length === 8")
    assert tab.evaluate("() => location.pathname") == "/study/ended/trials"
    tab.go_back()
    tab.wait_for_selector(".tiles")


def test_a_filter_and_a_choice_come_with_the_address(tab, url):
    wanted = "%7B%22status%22%3A%7B%22filterType%22%3A%22text%22%2C%22type%22%3A%22equals%22%2C%22filter%22%3A%22finished%22%7D%7D"
    tab.goto(f"{url}/study/ended/trials?filter={wanted}")
    tab.wait_for_function("() => document.querySelectorAll('.ag-center-cols-container .ag-row').length === 7")
    tab.goto(f"{url}/study/ended/axes?x=gcae.n_inducing&y=grc.n_modules")
    tab.wait_for_function("() => /against gcae.n_inducing/.test(document.querySelector('#page')?.textContent ?? '')")
    tab.wait_for_function("() => [...document.querySelectorAll('figure')].some(f => f.querySelector('h3')?.textContent === 'Importance' && f.querySelectorAll('.point').length === 2)", timeout=30_000)  # fmt: skip


@pytest.mark.parametrize("page", ["", "/trial/0006", "/compare?trials=0005,0006", "/scaling"])
def test_pages_fit_a_phone(tab, url, page):
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.goto(f"{url}/study/ended{page}")
    tab.wait_for_selector("#page h2, #page .tiles")
    tab.wait_for_timeout(400)
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 390, "nothing is wider than the screen"


def test_the_theme_is_the_readers_choice(tab, url):
    tab.goto(f"{url}/study/ended")
    tab.wait_for_selector(".tiles")
    before = tab.evaluate("() => getComputedStyle(document.body).backgroundColor")
    tab.locator("#theme-button").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("() => getComputedStyle(document.body).backgroundColor") != before
    tab.reload()
    tab.wait_for_selector(".tiles")
    assert tab.evaluate("() => document.documentElement.dataset.theme") == "dark"
    tab.goto(f"{url}/study/ended/axes")
    tab.wait_for_selector(".dash-dropdown")
    shown = "() => [getComputedStyle(document.querySelector('.dash-dropdown')).backgroundColor, getComputedStyle(document.body).backgroundColor]"
    tab.wait_for_function(f"() => {{ const [part, page] = ({shown})(); return part === page; }}", timeout=10_000)


def test_a_figure_can_be_kept_as_a_file(tab, url):
    tab.goto(f"{url}/study/ended")
    tab.wait_for_selector(".js-plotly-plot .main-svg")
    tab.locator("figure").first.hover()
    for kind in ("png", "svg"):
        with tab.expect_download() as kept:
            tab.locator(f"figure [data-save={kind}]").first.click()
        assert kept.value.suggested_filename == f"Objective-over-time.{kind}"
