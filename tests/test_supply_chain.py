from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import EXAMPLES, ROOT

ALONE = """
import json, socket, subprocess, sys
def refuse(*arguments, **options):
    raise AssertionError(f"the network or another program was asked for: {arguments}")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
sys.addaudithook(lambda event, arguments: event in EVENTS and refuse(event, *arguments))
EVENTS = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.posix_spawn"}
"""


def alone(program: str) -> str:
    """What a program prints where neither network nor other programs can be reached."""
    done = subprocess.run([sys.executable, "-c", ALONE + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guard_guards() -> None:
    for harm in ("socket.create_connection(('127.0.0.1', 9))", "subprocess.run(['true'])"):
        with pytest.raises(AssertionError, match="was asked for"):
            alone(harm)


def test_prediction_and_imports_need_no_network_and_no_other_programs() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "handpose").rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py")
        and path.parent.name != "demo"  # the demo is Gradio's, with the Hub's client
    ]
    assert len(names) > 30
    program = f"""
import importlib
from handpose import Camera, HandPoseEstimator
estimator = HandPoseEstimator.from_pretrained("msra", device="cpu")
pose = estimator.predict({str(EXAMPLES / "open.png")!r}, camera=Camera.parse({str(EXAMPLES / "camera.json")!r}))
for name in {names}:
    importlib.import_module(name)
print(json.dumps([pose.status, "huggingface_hub" in sys.modules]))
"""
    assert json.loads(alone(program)) == ["ok", False]  # the Hub's client is imported for downloads alone


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {re.split("[=; ]", line)[0].lower().replace("_", "-"): line for line in lines if line and line[0] != "#"}


def test_every_dependency_is_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.findall(r'"([A-Za-z][\w.-]*)\s*(?:\[[\w,]+\])?[><=~]=', text.split("[project.scripts]")[0])
    assert {"torch", "numpy", "safetensors", "hypothesis", "atheris"} <= set(listed)
    missing = [name for name in listed if name.lower().replace("_", "-") not in pins() and name != "hatchling"]
    assert not missing
    assert all(
        re.match(r"[\w.-]+==[\w.]+( ?; ?python_version [<>=]+ \"3\.\d+\".*)?$", line) for line in pins().values()
    )


def test_nothing_in_the_package_opens_pickles_or_runs_text() -> None:
    # YAML is read only by loaders that are derived from SafeLoader.
    words = re.compile(
        r"\b(pickle|marshal|shelve|eval\(|exec\(|os\.system|allow_pickle=True|weights_only=False"
        r"|yaml\.(?:Unsafe|Full|C)?Loader|yaml\.(?:unsafe|full)_load|yaml\.load\()"
    )
    for path in Path(ROOT / "handpose").rglob("*.py"):
        found = [
            match[0]
            for match in words.finditer(path.read_text())
            if not path.read_text()[: match.start()].endswith(".")
        ]
        assert not found, (path, found)
    loads = [
        line
        for path in Path(ROOT / "handpose").rglob("*.py")
        for line in path.read_text().splitlines()
        if "torch.load(" in line
    ]
    assert all("weights_only=True" in line for line in loads)
