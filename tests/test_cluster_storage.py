"""Where a study's search is kept: its own file, another one, a PostgreSQL server; and no secret on the way."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import optuna
import pandas as pd
import pytest
import yaml
from cluster_cases import BIN, free_port, running, wait_for
from database_cases import PASSWORD, Server, postgres_server
from optuna.exceptions import StorageInternalError
from test_cluster_search import Sitting, plan_of
from training_cases import make_store, write_study

from scbig_dist.artifacts.place import settled_root
from scbig_dist.cluster import storage as database
from scbig_dist.cluster import tune
from scbig_dist.cluster.jobs import check_words
from scbig_dist.cluster.plan import Plan
from scbig_dist.cluster.storage import Storage, choose_storage, kept_storage, open_storage
from scbig_dist.cluster.tune import run_sweep
from scbig_dist.errors import UserError
from scbig_dist.store.reader import open_store

AXES = {"flow.lr": {"low": 1e-4, "high": 1e-2, "log": True}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as made:
        yield made


def begin(out: Path, plan: Plan, url: str | None) -> Storage:
    """The study's directory as a sweep makes it before its first trial."""
    storage = choose_storage(url, out)
    with tune._claimed(out, plan, None, storage):
        return storage


def search(out: Path, plan: Plan, scores: list[float], first: int = 0) -> list[dict]:
    sitting, values = Sitting(out, plan), []
    for number, score in enumerate(scores, first):
        task = sitting.begin(f"t{number}")
        sitting.end(f"t{number}", task, score)
        values.append(task["values"])
    return values


def test_a_study_goes_on_in_postgresql_and_shares_the_database_with_others(tmp_path, store, server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    plan = plan_of(tmp_path, store, axes=AXES, sampler="tpe", n_trials=4)
    one, two, own = tmp_path / "a/out", tmp_path / "b/out", tmp_path / "own"
    for out, url in ((one, server.url), (two, server.url), (own, None)):
        begin(out, plan, url)
    first = search(one, plan, [0.1, 0.2])
    assert search(two, plan, [0.1, 0.2, 0.3, 0.4]) == search(own, plan, [0.1, 0.2, 0.3, 0.4])
    assert begin(one, plan, None) == begin(one, plan, server.url) == kept_storage(one)  # a sitting later, named or not
    assert first + search(one, plan, [0.3, 0.4], first=2) == [t.params for t in open_study(own).trials]
    assert (own / "study.db").exists() and not (one / "study.db").exists() and not (two / "study.db").exists()
    assert (
        [t.value for t in open_study(one).trials] == [t.value for t in open_study(two).trials] == [0.1, 0.2, 0.3, 0.4]
    )
    kept = (one / "study.yaml").read_text()
    assert yaml.safe_load(kept)["storage"] == server.url and PASSWORD not in kept


@pytest.mark.parametrize("kind", ["file", "server"])
def test_optuna_dashboard_reads_a_search(tmp_path, store, request, monkeypatch, kind):
    """The program itself, started as the sweep's last lines say."""
    url = request.getfixturevalue("server").url if kind == "server" else None
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    plan, out = plan_of(tmp_path, store, axes=AXES, sampler="random", n_trials=3), tmp_path / "out"
    storage = begin(out, plan, url)
    drawn = [values["flow.lr"] for values in search(out, plan, [0.1, 0.3, 0.2])]
    site = f"127.0.0.1:{free_port()}"
    program = [str(BIN / "optuna-dashboard"), storage.at(out), "--port", site.split(":")[1], "--server", "wsgiref"]
    with running(program, dict(os.environ)) as process:

        def ask(path: str) -> dict[str, Any]:
            with urlopen(f"http://{site}/api/{path}", timeout=30) as answer:
                return json.load(answer)

        def answers() -> bool:
            try:
                return bool(ask("studies"))
            except URLError:
                return False

        wait_for(answers, process)
        [mine] = [each for each in ask("studies")["study_summaries"] if each["study_name"] == storage.name]
        shown = ask(f"studies/{mine['study_id']}")
    assert [trial["values"] for trial in shown["trials"]] == [[0.1], [0.3], [0.2]]
    assert {trial["state"] for trial in shown["trials"]} == {"Complete"} and shown["directions"] == ["maximize"]
    lr = [float(param["param_external_value"]) for trial in shown["trials"] for param in trial["params"]]
    assert lr == pytest.approx(drawn)


def open_study(out: Path) -> optuna.Study:
    storage = kept_storage(out)
    return optuna.load_study(study_name=storage.name, storage=storage.at(out))


def test_a_database_refuses_in_one_line_without_the_right_password(tmp_path, server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(UserError, match=r"password authentication failed.*PGPASSWORD or ~/.pgpass set\?") as error:
        open_storage(Storage(server.url, "x"), tmp_path)
    assert "\n" not in str(error.value) and "wrong" not in str(error.value)


def test_a_server_that_does_not_answer_is_known_before_ray_starts(tmp_path, store, monkeypatch):
    monkeypatch.setattr(tune, "ray_session", lambda *_, **__: pytest.fail("Ray was started"))
    path, began = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]}), time.monotonic()
    with pytest.raises(UserError, match=r"--storage postgresql://me@127\.0\.0\.1.*cannot be used") as error:
        run_sweep(path, tmp_path / "out", {"store": store}, storage=f"postgresql://me@127.0.0.1:{free_port()}/x")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
    assert time.monotonic() - began < 60  # it was not waited for as long as the system would


def test_another_file_holds_the_search_and_a_study_keeps_to_the_storage_it_began_with(tmp_path, store, monkeypatch):
    plan, out = plan_of(tmp_path, store, axes={"flow.lr": [1e-3, 2e-3]}), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    begin(out, plan, "sqlite:///search.db")
    monkeypatch.chdir("/")
    search(out, plan, [0.5])
    assert kept_storage(out).url == f"sqlite:///{tmp_path / 'search.db'}" and not (out / "study.db").exists()
    assert [t.value for t in open_study(out).trials] == [0.5, None]
    with pytest.raises(UserError, match=r"keeps its search in sqlite:////.*search\.db; leave --storage out"):
        choose_storage("sqlite:////tmp/other.db", out)
    begin(tmp_path / "plain", plan, None)
    with pytest.raises(UserError, match=r"keeps its search in .*plain/study\.db; leave --storage out"):
        choose_storage("sqlite:////tmp/other.db", tmp_path / "plain")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:hush-hush@host/db", "--storage postgresql://host/db: holds a password.*PGPASSWORD"),
        ("postgresql://me@host/db?password=hush-hush", "holds 'password'"),
        ("postgresql://host/db?sslpassword=hush-hush", "holds 'sslpassword'"),
        ("nonsense", "--storage nonsense: not a URL of a database; e.g. postgresql://"),
        ("postgresql//me:hush-hush@host/db", "--storage: not a URL of a database; e.g. postgresql://"),
        ("sqlite:///:memory:", "ends with the sweep; name a file"),
        ("sqlite://", "ends with the sweep; name a file"),
        ("sqlite:////no/such/place/x.db", "no such directory /no/such/place"),
    ],
)
def test_storage_refuses(tmp_path, url, message):
    with pytest.raises(UserError, match=message) as error:
        choose_storage(url, tmp_path / "out")
    assert "hush-hush" not in str(error.value) and "\n" not in str(error.value)


def test_storage_names_the_driver_that_is_missing(tmp_path):
    for url in ("mysql+mysqldb://me@host/db", "nosuch://host/db"):
        with pytest.raises(UserError, match=r"no driver for this database \(.*pip install 'psycopg\[binary\]'"):
            open_storage(Storage(url, "x"), tmp_path)


def test_a_database_that_goes_away_for_a_while_costs_the_search_nothing(tmp_path, store, server, monkeypatch, caplog):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    plan, out = plan_of(tmp_path, store, axes=AXES, sampler="tpe", n_trials=3), tmp_path / "out"
    storage = begin(out, plan, server.url)
    sitting = Sitting(out, plan)
    task = sitting.begin("t0")
    server.stop()
    threading.Timer(2.0, server.start).start()
    sitting.end("t0", task, 0.5)  # waits for it
    assert [record.message for record in caplog.records if "does not answer" in record.message] == [
        f"--storage {server.url}: the database does not answer; the search waits for it, up to 600 s"
    ]
    sitting.end("t1", sitting.begin("t1"), 0.6)
    assert [trial.value for trial in open_study(out).trials] == [0.5, 0.6]
    # One that does not come back: what was told before is there, and the sweep says how to go on.
    monkeypatch.setattr(database, "PATIENCE_S", 0.5)
    server.stop()
    try:
        with pytest.raises(StorageInternalError):
            sitting.begin("t2")
    finally:
        server.start()
    assert len(open_storage(storage, out).get_all_studies()) >= 1


@pytest.mark.ray
def test_a_sweep_whose_database_is_gone_for_good_ends_in_one_line_and_goes_on_later(
    tmp_path, store, server, monkeypatch
):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setattr(database, "PATIENCE_S", 0.5)
    path, out = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3, 2e-3]}, at_once=1), tmp_path / "out"
    gone = threading.Thread(target=_stop_after, args=(server, out / "trials" / "0000" / "config.yaml"))
    gone.start()
    with pytest.raises(
        UserError, match=r"the database does not answer any more; .*: start it, then go on with --resume"
    ) as error:
        run_sweep(path, out, {"store": store}, storage=server.url)
    gone.join()
    assert "\n" not in str(error.value)
    server.start()
    run_sweep(path, out, {"store": store}, resume=True)
    assert pd.read_parquet(out / "trials.parquet")["status"].tolist() == ["finished", "finished"]


def _stop_after(server: Server, file: Path) -> None:
    while not file.exists():
        time.sleep(0.05)
    server.stop()


SECRETS = ("s3://AKIA:hush-hush@bucket/x", "s3://bucket/x?secret_key=hush-hush", "abfs://c@a/x?sas_token=hush-hush")


@pytest.mark.parametrize("uri", SECRETS)
def test_secrets_in_uris_are_refused_before_anything_keeps_them(tmp_path, store, monkeypatch, uri):
    def refused(work) -> None:
        with pytest.raises(UserError, match=r"holds (a password|'s\w+'), which files") as error:
            work()
        assert "hush-hush" not in str(error.value) and "\n" not in str(error.value)

    monkeypatch.chdir(tmp_path)
    path = write_study(tmp_path / "s.py", axes={"flow.lr": [1e-3]})
    refused(lambda: settled_root(uri))
    refused(lambda: open_store(uri))
    refused(lambda: run_sweep(path, tmp_path / "out", {"store": uri}))
    refused(lambda: run_sweep(path, tmp_path / "out", {"store": store}, artifacts=uri))
    words = {"study": "s.py", "output": "/mnt/x", "store": "/mnt/s", "set_": None, "storage": None, "artifacts": None}
    for option in ("store", "artifacts", "storage"):  # a job's record holds the words that it was asked with
        refused(lambda option=option: check_words(words | {option: uri}))
    with pytest.raises(UserError, match=r"--storage sqlite:///x\.db: a path of this machine"):
        check_words(words | {"storage": "sqlite:///x.db"})
    assert not (tmp_path / "out").exists()


def test_a_user_without_a_password_is_no_secret(tmp_path):
    assert choose_storage("postgresql://me@host/db?sslmode=require&sslkey=/k.pem", tmp_path / "out").url is not None
    assert choose_storage(None, tmp_path / "out") == Storage(None, "study")


def test_a_study_of_an_earlier_schema_is_refused_in_one_line(tmp_path, store):
    plan, out = plan_of(tmp_path, store, axes={"flow.lr": [1e-3]}), tmp_path / "out"
    begin(out, plan, None)
    kept = yaml.safe_load((out / "study.yaml").read_text())
    for schema in ({"schema": 1}, {}):
        without = {key: value for key, value in kept.items() if key != "schema"}
        (out / "study.yaml").write_text(yaml.safe_dump(without | schema))
        with pytest.raises(UserError, match=r"another version \(schema 1, this one writes 2\)") as error:
            run_sweep(tmp_path / "s.py", out, {"store": store}, resume=True)
        assert "\n" not in str(error.value)
