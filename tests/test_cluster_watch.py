"""The log of workers as another process reads it."""

from __future__ import annotations

import json

from scbig_dist.cluster.watch import Watch, last_record


def test_half_written_line_is_not_read(tmp_path):
    log = tmp_path / "metrics.jsonl"
    assert last_record(log) is None
    log.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert last_record(log) == {"step": 2}
    log.write_text('{"st')
    assert last_record(log) is None


def test_long_log_is_read_from_its_end(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(json.dumps({"step": step, "pad": "x" * 50}) + "\n" for step in range(10_000)))
    record = last_record(log)
    assert record is not None and record["step"] == 9_999


def test_watch_shows_stage_loss_speed_and_memory(tmp_path, capsys):
    record = {"stage": "flow", "step": 1200, "loss": 0.5, "cells_per_s": 4321.0, "peak_mem_gb": 1.25}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    watch = Watch(tmp_path, progress=True)
    with watch:
        watch.look()
        assert watch._status is not None and "update 1,200, loss 0.5000, 4,321 cells/s" in str(watch._status.status)
    assert capsys.readouterr().err == ""  # a training in which a mistake is still to be found
    for _ in range(2):  # begun, and begun again where a worker was lost
        (tmp_path / "setup.json").write_text("{}")
        watch._looked = 0.0
        with watch:
            watch.look()
    assert capsys.readouterr().err == f"run: {tmp_path}\n"
