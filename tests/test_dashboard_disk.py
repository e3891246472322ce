"""What the dashboard makes of a study's files: whole, still growing, cut short, missing, or not its own."""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
import time
from pathlib import Path

import pytest
from dashboard_cases import BEGAN, blocks_of, snapshot, words, write_study, write_trial

from scbig_dist.artifacts.shelf import Shelf
from scbig_dist.dashboard import blocks as b
from scbig_dist.dashboard.axis_figures import half_interval, pareto_front
from scbig_dist.dashboard.beside import best_table
from scbig_dist.dashboard.cluster import Cluster
from scbig_dist.dashboard.curves import Log, Logs, smoothed
from scbig_dist.dashboard.files import read_yaml
from scbig_dist.dashboard.leases import held_up
from scbig_dist.dashboard.page_scaling import ours_of
from scbig_dist.dashboard.pages import PAGES
from scbig_dist.dashboard.progress import sharing, spans, time_left
from scbig_dist.dashboard.ranking import running_best
from scbig_dist.dashboard.study import StudyReader, check_study
from scbig_dist.dashboard.waiting import reason, waiting_trials
from scbig_dist.errors import UserError


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = write_study(tmp_path / "study")
    write_trial(path, "0000", 0.5)
    write_trial(path, "0001", 0.7, values={"grc.n_modules": 4, "gcae.n_inducing": 4}, began=BEGAN + 60)
    write_trial(
        path,
        "0002",
        0.9,
        status="stopped",
        budget=400,
        reason="asha: rung 0",
        rung=0,
        stopped_by="asha",
        began=BEGAN + 120,
    )
    write_trial(path, "0003", None, status="failed", error="ValueError: no", reason="see error.txt", began=BEGAN + 180)
    return path


def test_trials_are_ranked_only_among_equal_budgets(study):
    found = snapshot(study)
    assert [(g.label, [t.id for t in g.trials]) for g in found.groups] == [
        ("1,000 micro-steps", ["0001", "0000"]), ("stopped at 400 micro-steps", ["0002"]),
    ]  # fmt: skip
    assert found.best is not None and found.best.id == "0001"  # 0002 scored more, with less training
    assert (found.places["0002"].rank, found.places["0002"].of) == (1, 1)
    assert [t.id for _, _, t in running_best(found.groups[0], "val_pearson_delta", "max")] == ["0000", "0001"]


def test_baselines_are_ranked_apart_from_scbig(tmp_path):
    path = write_study(tmp_path / "study", axes={"model.name": ["scbig", "linear", "gears"]})
    for i, (model, score) in enumerate([("scbig", 0.5), ("linear", 0.9), ("gears", 0.8)]):
        write_trial(path, f"000{i}", score, values={"model.name": model}, budget=0 if model == "linear" else 1000)
    assert [g.label for g in snapshot(path).groups] == ["1,000 micro-steps", "baselines, each by its own rule"]


def test_a_metric_where_less_is_better_is_ranked_downward(tmp_path):
    path = write_study(tmp_path / "study", metric="val_mse", mode="min")
    write_trial(path, "0000", 0.1, val_mse=0.2)
    write_trial(path, "0001", 0.1, val_mse=0.1)
    assert snapshot(path).best.id == "0001"


@pytest.mark.parametrize(
    "content", ["", "{", '{"trial": "0001", "stat', "[1]", "\x00\xff", '{"status": "done"}', "null"]
)
def test_a_broken_row_is_named_and_not_ranked(study, content):
    (study / "trials" / "0001" / "trial.json").write_bytes(content.encode("latin-1"))
    found = snapshot(study)
    assert found.trials["0001"].status == "unreadable" and found.trials["0001"].problems
    assert found.best.id == "0000"
    assert "1 unreadable" in words(blocks_of(study)) and "trial.json" in words(blocks_of(study))


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.99", [1], None, True])
def test_a_score_that_is_no_number_is_no_score(study, value):
    row = json.loads((study / "trials" / "0001" / "trial.json").read_text())
    (study / "trials" / "0001" / "trial.json").write_text(json.dumps(row | {"val_pearson_delta": value}))
    found = snapshot(study)
    assert "val_pearson_delta" not in found.trials["0001"].scores and found.best.id == "0000"


@pytest.mark.parametrize(
    "name", ["study.yaml", "trials/0001/metrics.jsonl", "trials/0001/config.yaml", "trials/0001/trial.json"]
)
@pytest.mark.parametrize("how", ["missing", "half", "noise", "folder"])
def test_every_page_is_drawn_whatever_is_missing_or_cut(study, name, how):
    path = study / name
    content = path.read_bytes()
    path.unlink()
    if how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "noise":
        path.write_bytes(os.urandom(200))
    elif how == "folder":
        path.mkdir()
    for page in [*PAGES, "trial/0001", "trial/0000"]:
        assert words(blocks_of(study, page, trials="0000,0001"))


def test_a_study_that_has_not_begun_says_what_will_appear(tmp_path):
    path = write_study(tmp_path / "new")
    for page in PAGES:
        said = words(blocks_of(path, page))
        charts = [block for block in b.flat(blocks_of(path, page)) if isinstance(block, b.Chart)]
        assert "kind='empty'" in said or (charts and all(chart.figure is None and chart.caption for chart in charts)), (
            page
        )
    assert "0 of 6" in words(blocks_of(path))


def test_a_link_in_a_study_is_not_followed(study, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "config.yaml").write_text("password: hunter2")
    (study / "trials" / "0009").symlink_to(secret)
    (study / "trials" / "0003" / "error.txt").symlink_to(secret / "config.yaml")
    found = snapshot(study)
    assert "0009" not in found.trials and any("links" in p for p in found.problems)
    assert "hunter2" not in words(blocks_of(study, "trial/0003"))
    assert "hunter2" not in words(blocks_of(study, "trial/0009"))


def test_a_log_is_read_on_from_where_it_ended(tmp_path):
    path, log = tmp_path / "metrics.jsonl", Log()
    line = json.dumps({"stage": "flow", "micro_step": 1, "loss": 0.5})
    path.write_text(f"{line}\n{line[:20]}")
    log.read_on(path)
    assert log.stages["flow"].n == 1 and log.is_open and not log.broken
    with open(path, "a") as file:
        file.write(f"{line[20:]}\nnot json\n")
    log.read_on(path)
    assert log.stages["flow"].n == 2 and log.broken == 1 and not log.is_open
    path.write_text(line + "\n")  # a resumed run writes its log anew, shorter
    log.read_on(path)
    assert log.stages["flow"].n == 1 and not log.broken


def test_a_log_that_was_copied_by_half_gives_no_end(study):
    log = study / "trials" / "0001" / "metrics.jsonl"
    log.write_text("".join(line + "\n" for line in log.read_text().splitlines()[:14]))
    (study / "trials" / "0000" / "metrics.jsonl").unlink()
    found = snapshot(study)
    assert found.trials["0001"].ended is None and found.trials["0000"].ended is None, (
        "when it was copied is not when it ended"
    )
    said = words(blocks_of(study))
    assert "metrics.jsonl is cut short: flow, step 400" in said and "metrics.jsonl is not there" in said
    assert found.best.id == "0001", "its row is whole"


def test_curves_leave_out_what_a_record_lacks(study):
    stage = Logs()(study / "trials" / "0000" / "metrics.jsonl").judged
    xs, ys = stage.points("micro_step", "val_pearson_delta")
    assert xs == [200, 400, 600, 800, 1000] and ys == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert stage.points("micro_step", "loss", most=4)[0][-1] == 1000


def test_smoothing_keeps_a_constant_and_starts_at_the_first_value():
    assert smoothed([2.0] * 5, 0.9) == pytest.approx([2.0] * 5)
    assert smoothed([1.0, 3.0], 0.5) == pytest.approx([1.0, (0.25 * 1 + 0.5 * 3) / 0.75])


def test_a_snapshot_changes_only_when_the_study_does(study):
    reader = StudyReader("study", study)
    first = reader.snapshot()
    reader._looked = 0.0
    assert reader.snapshot().version == first.version
    write_trial(study, "0004", 0.8)
    reader._looked = 0.0
    assert reader.snapshot().rows_version == first.rows_version + 1 and reader.snapshot().best.id == "0004"


def test_a_trial_without_a_row_runs_while_the_study_is_held(study):
    write_trial(study, "0004", 0.3, row=False)
    assert snapshot(study).trials["0004"].status == "interrupted"
    with open(study / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = snapshot(study)
        if not found.sweep.at_work:
            pytest.skip("this system has no list of locks")
        assert found.trials["0004"].status == "running"
        assert "no line of log for" in words(blocks_of(study)), "its last line is years old: it is pointed at"


def test_a_fresh_log_shows_a_sweep_on_another_machine(study):
    write_trial(study, "0004", 0.3, row=False, began=time.time() - 50, seconds=40)
    assert snapshot(study).sweep.at_work and snapshot(study).trials["0004"].status == "running"


def test_time_left_says_what_it_rests_on(study):
    write_trial(study, "0004", 0.3, row=False, began=time.time() - 55, seconds=40)
    found = snapshot(study)
    left = time_left(found, time.time())
    assert left.seconds == pytest.approx(65, abs=3)  # 5 s of the running one, 60 s of the one that waits, one at a time
    assert "3 trials that ended" in left.basis and "1 at a time" in left.basis
    fresh = time_left(snapshot(write_study(study.parent / "fresh")), 0.0)
    assert fresh.seconds is None


def test_scoring_behind_the_log_takes_no_further_place(tmp_path):
    """Logs end 20 s before their trials do: by them alone the second would have begun before the first had ended."""
    study = write_study(tmp_path / "study")
    for i in range(3):
        began = BEGAN + 80 * i
        write_trial(study, f"{i:04d}", 0.5, began=began, seconds=60, seconds_total=80.0, ended=began + 80)
    found = spans(snapshot(study), BEGAN + 240)
    assert [(each.place, each.began - BEGAN, each.end - BEGAN) for each in found] == [
        (0, 80 * i, 80 * i + 80) for i in range(3)
    ]


def test_places_are_as_many_as_ran_at_once(study):
    write_trial(study, "0004", 0.8, began=BEGAN + 30)
    found = spans(snapshot(study), BEGAN)
    assert {span.trial.id: span.place for span in found} == {"0000": 0, "0004": 1, "0001": 0, "0002": 0, "0003": 0}


def test_sharing_counts_what_was_made_once(study):
    made = [
        {"kind": "autoencoder", "key": "a", "reused": False, "seconds": 30.0},
        {"kind": "modules", "key": "m", "reused": False, "seconds": 2.0},
    ]
    (study / "trials" / "0000" / "run.json").write_text(json.dumps({"artifacts": made}))
    (study / "trials" / "0001" / "run.json").write_text(
        json.dumps({"artifacts": [made[0] | {"reused": True}, made[1] | {"reused": True, "seconds": None}]})
    )
    (study / "trials" / "0002" / "run.json").write_text(
        json.dumps({"autoencoder_reused": True, "seconds_autoencoder": 10.0})
    )  # an older one
    found = sharing(snapshot(study))
    assert (found.made, found.reused, found.seconds_saved, found.unpriced) == (2, 3, 40.0, 1)


def test_restarts_come_from_the_row_or_from_the_starts_of_the_process(study):
    attempts = [
        {"began": BEGAN, "node": "a", "pid": 7, "gpus": [0]},
        {"began": BEGAN + 5, "node": "b", "pid": 8, "gpus": [1]},
    ]
    text = "".join(json.dumps(each) + "\n" for each in attempts)
    (study / "trials" / "0000" / "attempts.jsonl").write_text(text + '{"began": 1')
    trial = snapshot(study).trials["0000"]
    assert (trial.restarts, trial.node, trial.gpus, trial.pid) == (1, "b", "1", 8) and "half-written" in trial.problems[
        0
    ]
    assert snapshot(study).trials["0001"].restarts is None and "not recorded" in words(blocks_of(study, "trials"))


def test_why_a_trial_waits_is_a_sentence(study):
    write_trial(study, "0004", 0.3, row=False, began=time.time() - 50, seconds=40)
    found = snapshot(study)
    [waits] = waiting_trials(found, Cluster())
    assert waits.id == "0005" and waits.values == {"grc.n_modules": 8, "gcae.n_inducing": 8}
    assert (
        waits.why
        == "It asks for 1 CPU; as many as run at once do (trial 0004). It is next: it starts when a running trial ends."
    )
    full = Cluster("http://x", usage={"CPU": (2.0, 2.0)}, at=1.0)
    assert "2 of 2 CPUs are in use (trial 0004)" in reason(found, full, {}, 0, False)
    assert "It cannot start here" in reason(found, _cluster_of(2.0), {"train.threads": 8}, 0, False)
    assert "chosen when it starts" in reason(found, full, {}, 3, True)
    assert "No sweep is at work" in reason(snapshot(write_study(study.parent / "idle")), Cluster(), {}, 0, False)


def _cluster_of(cpus: float) -> Cluster:
    from scbig_dist.dashboard.cluster import Node

    return Cluster(
        "http://x", nodes=(Node("n", "1", True, resources={"CPU": cpus}),), usage={"CPU": (0.0, cpus)}, at=1.0
    )


def test_pareto_front_keeps_what_nothing_beats_in_both():
    points = [(1.0, 1.0), (2.0, 2.0), (3.0, 1.5), (1.0, 1.0), (0.5, 0.2)]
    assert sorted(pareto_front(points, (True, False))) == [0, 1, 3, 4]  # low x, high y
    assert sorted(pareto_front(points, (False, False))) == [1, 2]


def test_interval_is_that_of_students_t():
    from scipy import stats

    values = [0.1, 0.4, 0.35, 0.8]
    low, high = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert half_interval(values) == pytest.approx((high - low) / 2)


def test_the_papers_best_row_says_its_figure_once(tmp_path):
    for table, label in (("sensitivity", "published, best of figure 6"), ("pooling", "published, table 10: mean")):
        path = write_study(tmp_path / table, published=table)
        write_trial(path, "0000", 0.5)
        assert best_table(snapshot(path)).rows[-1][0] == label


def test_importance_finds_the_axis_that_decides():
    from scbig_dist.cluster.importance import importance

    settings = [{"flow.lr": 10.0 ** -(i % 5), "gcae.n_inducing": i % 3, "gcae.pooling": "ab"[i % 2]} for i in range(60)]
    found = importance(settings, [float(s["gcae.pooling"] == "a") + 0.01 * s["gcae.n_inducing"] for s in settings])
    assert found["gcae.pooling"] > 0.9 and sum(found.values()) == pytest.approx(1.0)
    assert importance(settings[:3], [1.0, 2.0, 3.0]) == {} and importance(settings, [1.0] * 60) == {}


def test_dashboard_rejects_a_folder_that_is_no_study(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        check_study(tmp_path / "none")
    with pytest.raises(UserError, match=r"no study \(no study.yaml"):
        check_study(tmp_path)
    write_study(tmp_path / "inside")
    with pytest.raises(UserError, match=r"it holds studies: .*inside"):
        check_study(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a file"):
        check_study(tmp_path / "file")


@pytest.mark.parametrize("schema", [1, 3])
def test_dashboard_rejects_a_study_of_another_schema_version(tmp_path, schema):
    with pytest.raises(UserError, match=f"schema {schema}, this version reads 2"):
        check_study(write_study(tmp_path / "other", schema=schema))


def test_a_deviation_over_seeds_is_no_score(study):
    write_trial(study, "0004", 0.8, val_pearson_delta_sd=0.02, test_mse=0.3, test_mse_sd=0.01, seeds=2)
    (study / "trials" / "0004" / "seeds.json").write_text(json.dumps({"seeds": [0, 1]}))
    trial = snapshot(study).trials["0004"]
    assert trial.deviations == {"val_pearson_delta": 0.02, "test_mse": 0.01} and "test_mse_sd" not in trial.scores
    [grid] = [block for block in blocks_of(study, "trials") if isinstance(block, b.Grid)]
    titles = [column.title for column in grid.columns]
    at = titles.index("test_mse ↓")
    assert titles[at + 1] == "± test_mse" and "seeds" in titles, (
        "no arrow: a deviation is not to be made large or small"
    )
    assert "test_mse_sd" not in words(blocks_of(study, "axes")), "nothing is plotted against a deviation"
    assert "mean of 2 seeds, ± 0.0200" in words(blocks_of(study, "trial/0004"))


def test_a_trial_of_several_seeds_shows_the_run_that_is_under_way(study):
    trial = study / "trials" / "0004"
    for seed, seconds in ((0, 60.0), (1, 40.0)):
        write_trial(study, f"0004/seed-{seed}", 0.4, row=False, began=time.time() - 50, seconds=seconds)
    (trial / "seeds.json").write_text(json.dumps({"seeds": [0, 1, 2, "../../../secret"]}))
    (trial / "seed-2").symlink_to(study.parent)
    found = snapshot(study).trials["0004"]
    assert [run.name for run in found.runs] == ["seed-0", "seed-1"] and found.status == "running"
    said = words(blocks_of(study, "trial/0004"))
    assert "seed 2 of 2: flow, 1,000 of 1,000 micro-steps" in said and "seed-1/metrics.jsonl" in said
    assert "seed-0/metrics.jsonl" in words(blocks_of(study, "trial/0004", run="seed-0"))


def test_an_axis_that_does_not_exist_in_a_trial_is_empty(tmp_path):
    axes = {"model.name": ["scbig", "linear"], "grc.n_modules": [4, 8]}
    path = write_study(tmp_path / "study", 3, axes=axes, when={"grc.n_modules": {"model.name": ["scbig"]}})
    write_trial(path, "0000", 0.5, values={"model.name": "linear"})
    write_trial(path, "0001", 0.5, values={"model.name": "linear"}, row=False, began=time.time() - 50, seconds=40)
    found = snapshot(path)
    for trial in found.trials.values():
        assert trial.values == {"model.name": "linear"} and found.setting(trial, "grc.n_modules") is None
    [grid] = [block for block in blocks_of(path, "trials") if isinstance(block, b.Grid)]
    assert [row["grc.n_modules"] for row in grid.rows] == [None, None]
    assert "('grc.n_modules', 'does not exist here'" in words(blocks_of(path, "trial/0001"))
    assert [each.values for each in waiting_trials(found, Cluster())] == [{"model.name": "linear"}], (
        "as the sweep's own plan"
    )


def test_workers_show_where_a_trial_of_several_is(study):
    run = write_trial(study, "0004", 0.3, row=False, began=time.time() - 50, seconds=40)
    (run / "attempts.jsonl").write_text(
        json.dumps({"began": BEGAN, "node": "head", "ip": "1", "pid": 7, "gpus": []}) + "\n"
    )
    groups = [[("a", 1, "0"), ("b", 2, "1")], [("a", 3, "0"), ("c", 4, "0")]]
    lines = [
        {"began": BEGAN + i, "workers": [{"node": n, "ip": "1", "pid": p, "gpus": [g]} for n, p, g in group]}
        for i, group in enumerate(groups)
    ]
    (run / "workers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    trial = snapshot(study).trials["0004"]
    assert (trial.node, trial.gpus, trial.restarts, trial.pid) == ("a, c", "0", 1, 7)
    said = words(blocks_of(study, "trial/0004"))
    assert "'worker 1', 'c', '1', '4', '0'" in said and "'trial', 'head', '1', '7', 'none'" in said
    assert "'a, c', '0', '7', '1'" in words(blocks_of(study, "cluster"))


def test_who_waits_for_an_artefact_is_said_with_its_maker(study, tmp_path):
    """Real claims: two processes of the sweep want the same artefact."""
    for name in ("0004", "0005"):
        write_trial(study, name, 0.3, row=False, began=time.time() - 50, seconds=40)
    root, runs = study / "artifacts", [str(study / "trials" / name) for name in ("0004", "0005")]
    makes, done = threading.Event(), threading.Event()

    def make(run: str) -> None:
        def write(folder: Path) -> None:
            makes.set()
            done.wait(20)
            (folder / "x").write_text("x")

        with Shelf(root, cache=str(tmp_path / "cache"), run=run, beat_s=0.1) as shelf:
            shelf.take("autoencoder", {"a": 1}, write)

    first, second = (threading.Thread(target=make, args=(run,)) for run in runs)
    first.start()
    assert makes.wait(20)
    second.start()
    until = time.monotonic() + 20
    while not (lines := held_up(snapshot(study), time.time())) and time.monotonic() < until:
        time.sleep(0.05)
    later = held_up(snapshot(study), time.time() + 120)
    done.set()
    first.join()
    second.join()
    assert lines == ["Trial 0005 waits for the autoencoder that trial 0004 is making: it is computed once."]
    assert later == [] and held_up(snapshot(study), time.time()) == []


def test_scaling_compares_a_micro_batch_with_a_micro_batch(tmp_path):
    path = write_study(tmp_path / "study", axes={"panel.n_hvg": [2000, 5000]})
    write_trial(path, "0000", 0.5, values={"panel.n_hvg": 2000, "flow.accumulate": 20}, step_ms=100.0)
    write_trial(path, "0001", 0.5, values={"panel.n_hvg": 5000}, step_ms=100.0, stage2_ms=7.0)
    kept = read_yaml(path / "study.yaml").value
    kept["config"]["flow.accumulate"] = 20
    (path / "study.yaml").write_text(json.dumps(kept))
    found = snapshot(path)
    assert ours_of(found, found.trials["0000"], "stage2_ms") == 5.0, "the logged update, shared out"
    assert ours_of(found, found.trials["0001"], "stage2_ms") == 7.0, "timed alone"
