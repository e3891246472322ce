"""The dashboard over HTTP: who may read it, what it lets through, its export, and how it refuses to start."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from dashboard_cases import blocks_of, get, pages_of, serving, words, write_study, write_trial

from scbig_dist.dashboard.answers import share_answers
from scbig_dist.dashboard.app import make_app
from scbig_dist.dashboard.cluster import ClusterReader, page_address, read_cluster
from scbig_dist.dashboard.export import document, write_export
from scbig_dist.dashboard.grid import RowChanges
from scbig_dist.dashboard.pages import Place, place_of
from scbig_dist.dashboard.security import is_loopback, protect, read_token
from scbig_dist.errors import UserError

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
NO_CLUSTER = "http://127.0.0.1:9"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = write_study(tmp_path / "study")
    write_trial(path, "0000", 0.5, name=EVIL)
    run = write_trial(
        path, "0001", 0.7, status="failed", reason=EVIL, error=EVIL, values={"grc.n_modules": 4, "gcae.n_inducing": 4}
    )
    (run / "error.txt").write_text(f"Traceback\n{EVIL}\n")
    (run / "metrics.jsonl").write_text(json.dumps({"stage": EVIL, "loss": 1}) + "\n")
    return path


def question_of(path: str, search: str = "") -> dict[str, object]:
    """What the page's own script asks for an address."""
    outputs = [
        {"id": "page", "property": "children"},
        {"id": "nav", "property": "children"},
        {"id": "seen", "property": "data"},
        {"id": "title", "property": "data"},
    ]
    return {
        "output": "..page.children...nav.children...seen.data...title.data..", "outputs": outputs, "changedPropIds": ["url.pathname"],
        "inputs": [{"id": "url", "property": "pathname", "value": path}], "state": [{"id": "url", "property": "search", "value": search}],
    }  # fmt: skip


def call(url: str, path: str, search: str = "") -> str:
    """What the page's own script gets for an address."""
    import urllib.request

    body = question_of(path, search)
    request = urllib.request.Request(
        f"{url}/_dash-update-component", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def test_the_page_on_loopback(study):
    with serving(study) as (url, _):
        status, text, headers = get(url + "/")
        assert status == 200 and "https://" not in re.sub(r"dash_version_url[^,]*", "", text), (
            "every asset comes from here"
        )
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe-eval" not in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert get(url + "/", Host="evil.example")[0] == 403, "a name that leads here from elsewhere gets nothing"
        for path in (
            "/assets/../serve.py",
            "/assets/..%2fserve.py",
            "/study/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
        ):
            assert "root:" not in get(url + path)[1] and "def prepare" not in get(url + path)[1], path
        for path in (
            "/study/study/trial/..%2f..%2f..%2fetc",
            "/study/study/trial/%00",
            "/study/study/trial/a%2fb",
            "/study/..",
            "/nowhere",
        ):
            found = call(url, path)
            assert "Nothing is here" in found or "has no trial" in found, path
        assert "0000" in call(url, "/study/study/trials") and get(url + "/pulse?path=/study/study")[0] == 200


def test_another_address_than_loopback_asks_for_the_token(study, tmp_path):
    kept = tmp_path / "token"
    with serving(study, options=("--host", "0.0.0.0", "--token-file", str(kept))) as (url, _):
        url, token = url.replace("0.0.0.0", "127.0.0.1"), kept.read_text().strip()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        for path in ("/", "/pulse", "/_dash-layout", "/assets/page.js", "/_dash-component-suites/dash/deps/x.js"):
            assert get(url + path)[0] == 401, path
        assert "The token" in get(url + "/", Accept="text/html")[1], "a browser is led to where the token is asked for"
        assert get(url + "/", Authorization="Bearer " + token[:-1])[0] == 401
        assert get(url + "/", Authorization=f"Bearer {token}")[0] == 200
        assert get(url + "/", Cookie=f"scbig-dashboard={token}")[0] == 401, "the cookie is not the token"


def test_token_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "token"
    assert read_token(path) == read_token(path) and len(read_token(path)) >= 16
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        read_token(path)
    assert read_token(None) != read_token(None)


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("box", False)])  # fmt: skip
def test_loopback_is_told_from_other_addresses(host, expected):
    assert is_loopback(host) == expected


class Scripts(HTMLParser):
    """What a browser would run, or ask for, of a file."""

    def __init__(self) -> None:
        super().__init__()
        self.n_scripts, self.risky, self.outside = 0, [], []

    def handle_starttag(self, tag, attrs):
        self.n_scripts += tag == "script"
        self.risky += [name for name, _ in attrs if name.startswith("on")] + [tag] * (
            tag in ("img", "iframe", "object")
        )
        self.outside += [value for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")]


def test_export_is_one_file_in_which_nothing_of_a_study_runs(study, tmp_path):
    out = write_export(pages_of(study), tmp_path / "out.html")
    text = out.read_text()
    found = Scripts()
    found.feed(text)
    assert found.n_scripts == 3 and not found.risky and not found.outside
    assert "&lt;img src=x onerror" in text and 'id="study/trial/0001"' in text
    data = json.loads(text.split('id="figures">')[1].split("</script>")[0])
    assert data and all("data" in figure for figure in data.values())


def test_export_refuses_to_write_into_a_study(study, tmp_path):
    with pytest.raises(UserError, match="lies inside the study"):
        write_export(pages_of(study), study / "out.html")
    with pytest.raises(UserError, match="a folder"):
        write_export(pages_of(study), tmp_path)
    assert not (study / "out.html").exists()


def test_what_a_figure_shows_of_a_name_is_escaped(study):
    pages = pages_of(study)
    for page in ("", "axes", "scaling", "compare"):
        for block in pages.flat(pages.blocks(Place("study", page), {"trials": "0000,0001"})):
            if getattr(block, "figure", None):
                for trace in block.figure["data"]:
                    assert "<img" not in json.dumps(
                        [trace.get("text"), trace.get("hovertext"), trace.get("hovertemplate")]
                    )
    assert "<script" in words(blocks_of(study, "trial/0001")), "the text itself is shown, and escaped where it is drawn"
    assert document(pages).count("<script") == 3


def test_several_studies_have_names_of_their_own(tmp_path):
    for parent in ("a", "b"):
        write_trial(write_study(tmp_path / parent / "study"), "0000", 0.5)
    pages = pages_of(tmp_path / "a" / "study", tmp_path / "b" / "study", tmp_path / "a" / "study")
    assert list(pages.readers) == ["study", "study-2"]
    assert place_of("/", pages).study is None and "study-2" in words(pages.blocks(place_of("/", pages), {}))
    found = words(pages.blocks(Place("study", "compare"), {"trials": "0000,study-2:0000,none,../x:0000"}))
    assert "study-2:0000" in found and "No setting differs" in found


def test_many_readers_of_one_state_get_one_drawing_and_nobody_gets_it_without_the_token(study):
    pages = pages_of(study)
    app = make_app(pages)
    protect(app.server, "a" * 24, app.csp_hashes())
    share_answers(app.server, pages)
    drawn = []
    pages._draw = lambda place, query, draw=pages._draw: drawn.append(place) or draw(place, query)  # counts, and draws
    browser, question = app.server.test_client(), question_of("/study/study")
    token = {"Authorization": "Bearer " + "a" * 24}
    first, second = (browser.post("/_dash-update-component", json=question, headers=token) for _ in range(2))
    assert first.status_code == 200 and first.data == second.data and len(drawn) == 1
    assert "Content-Security-Policy" in second.headers, "what is kept goes out under the same headers"
    assert browser.post("/_dash-update-component", json=question).status_code == 401
    write_trial(study, "0002", 0.9, values={"grc.n_modules": 8, "gcae.n_inducing": 4})
    pages.readers["study"]._looked = 0.0
    third = browser.post("/_dash-update-component", json=question, headers=token)
    assert "0.9000" in third.text and "0.9000" not in second.text, "another state, another answer"
    assert browser.post("/_dash-update-component", data=b"{no json", headers=token).status_code >= 400


def test_large_scripts_do_not_stand_in_a_pages_way(study):
    browser = make_app(pages_of(study)).server.test_client()
    plain, table = browser.get("/study/study").text, browser.get("/study/study/trials").text
    assert '<script src="' in plain and not re.search(r'<script src="[^"]*dash_ag_grid', plain)
    assert re.search(r'<script src="[^"]*dash_ag_grid', table)
    for name in ("scbig-plotly", "scbig-grid"):
        address = re.search(rf'<meta name="{name}" content="([^"]+)"', plain)
        assert address, name
        answer = browser.get(address[1])
        assert answer.status_code == 200 and "max-age" in answer.headers["Cache-Control"], "a browser keeps it"


def test_only_rows_that_changed_are_sent():
    rows = RowChanges()
    first = rows.note("t", [{"id": "a", "x": 1}, {"id": "b", "x": 1}])
    assert rows.note("t", [{"id": "a", "x": 1}, {"id": "b", "x": 1}]) == first
    assert rows.since("t", first) == (first, {"add": [], "update": []})
    rows.note("t", [{"id": "a", "x": 2}, {"id": "b", "x": 1}, {"id": "c", "x": 1}])
    assert rows.since("t", first) == (first + 1, {"add": [{"id": "c", "x": 1}], "update": [{"id": "a", "x": 2}]})
    rows.note("t", [{"id": "a", "x": 2}])
    assert rows.since("t", first) == (first + 2, None) and rows.all("t") == [{"id": "a", "x": 2}], (
        "rows went away: all are sent anew"
    )


def test_a_ray_address_that_does_not_answer_is_said_on_the_page(study):
    assert "no Ray dashboard answers" in read_cluster(NO_CLUSTER, None).problem
    pages = pages_of(study)
    pages.cluster = ClusterReader("127.0.0.1:9")
    pages.cluster._refresh(NO_CLUSTER)
    said = words(pages.blocks(Place("study", "cluster"), {}))
    assert "no Ray dashboard answers at http://127.0.0.1:9" in said and "The study" not in said


def test_ray_addresses():
    assert (
        page_address("10.0.0.1:6379") == "http://10.0.0.1:8265"
        and page_address("https://head:1234/x") == "https://head:1234"
    )
    for wrong in ("ftp://x", "http://", "http://user@host", "host:99999999"):
        with pytest.raises(UserError, match="--address"):
            page_address(wrong)


def test_the_token_goes_to_no_address_that_a_study_names(study):
    (study / "ray.json").write_text(json.dumps({"dashboard": "http://evil.example:8265"}))
    write_trial(study, "0002", 0.1, row=False, began=__import__("time").time() - 50, seconds=40)
    pages = pages_of(study)
    snapshot = pages.readers["study"].snapshot()
    assert snapshot.sweep.at_work and pages.cluster.address_of(snapshot) == ""
    (study / "ray.json").write_text(json.dumps({"dashboard": "http://127.0.0.1:8265"}))
    assert pages_of(study).cluster.address_of(pages_of(study).readers["study"].snapshot()) == "http://127.0.0.1:8265"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from scbig_dist.cli import main; sys.argv[0] = 'scbig'; main()"
    return subprocess.run([sys.executable, "-c", code, "dashboard", *words], capture_output=True, text=True, timeout=60)


def test_dashboard_rejects_a_busy_port_and_proposes_another(study):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        done = run(str(study), "--port", str(port))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    proposed = re.search(rf"--port {port}: busy on 127.0.0.1; --port (\d+) is free", done.stderr)
    assert proposed and int(proposed[1]) > port


def test_the_dashboard_imports_no_model_and_nothing_that_only_others_need():
    heavy = "('torch', 'ray', 'optuna', 'numba', 'matplotlib', 'scipy')"
    code = f"import sys, scbig_dist.dashboard.serve, scbig_dist.dashboard.export; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
