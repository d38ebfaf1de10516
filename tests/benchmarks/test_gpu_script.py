from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.sh"
STEPS = ["test", "graphs", "without_graphs", "where_to_cut", "training_speed"]


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", SCRIPT, *arguments],
        env={**os.environ, "PATH": path, **variables},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_dry_run_measures_every_step_on_the_cpu(tmp_path: Path) -> None:
    pytest.importorskip("anny")  # the extra `train`
    out = tmp_path / "gpu.json"
    done = run("--dry-run", out)
    steps = json.loads(out.read_text())["steps"]
    assert {name: step["errors"] for name, step in steps.items() if step["exit_code"]} == {}
    assert done.returncode == 0
    assert list(steps) == STEPS
    timings = steps["graphs"]["result"]["timings"]
    assert {timing["stage"] for timing in timings} >= {"localize", "network", "whole"}
    assert all(timing["per_second"] > 0 for timing in timings)
    assert len(steps["without_graphs"]["result"]["models"]) == 5
    assert any("upload whole frames" in line for line in steps["where_to_cut"]["result"])
    assert sum("| train, " in line for line in steps["training_speed"]["result"]) == 3


def test_without_a_gpu_nothing_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run(out, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "no CUDA GPU" in done.stderr
    assert not out.exists()
