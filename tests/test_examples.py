from __future__ import annotations

import itertools
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from handpose import Camera, Distortion, HandPoseEstimator, HandTracker
from tests.helpers.paths import EXAMPLES

LENS = (0.1, -0.05, 0.001, 0.002, 0.01)


def run(script: str, *arguments: object, cwd: Path) -> str:
    command = [sys.executable, "-W", "error::UserWarning", str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


def test_one_image(tmp_path: Path) -> None:
    lines = run("one_image.py", cwd=tmp_path).splitlines()
    assert len(lines) == 21
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["hand.html", "hand.png"]


def test_a_folder(tmp_path: Path) -> None:
    names = [line.split(":")[0] for line in run("folder.py", cwd=tmp_path).splitlines()]
    assert names == ["down.png", "open.png", "thumb.png"]


def test_a_stream(tmp_path: Path) -> None:
    ids = {line.split(":")[0].split()[-1] for line in run("stream.py", cwd=tmp_path).splitlines()}
    assert ids == {"0"}  # one hand, and it stays the same


@pytest.mark.parametrize(
    "script", [["one_image.py", "nothing.png", "msra", "out", "0.125"], ["stream.py", "nothing.mcap"]]
)
def test_a_missing_file_is_one_line(script: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / script[0]), *script[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith(f"error: {script[1]}: no such ")


@pytest.mark.filterwarnings("ignore:Consider using IPython.display.IFrame:UserWarning")
def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("IPython")
    notebook = json.loads((EXAMPLES / "hand_pose.ipynb").read_text())
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
    monkeypatch.chdir(EXAMPLES)
    shown: list[np.ndarray] = []
    monkeypatch.setattr("handpose.results.pose.show_picture", shown.append)
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 21
    assert names["pose"].status == "ok"
    assert [picture.shape for picture in shown] == [(960, 1280, 3)]


@pytest.mark.slow
def test_your_own_training(tmp_path: Path) -> None:
    pytest.importorskip("anny")
    last = run("your_own_training.py", tmp_path, 4, cwd=tmp_path).splitlines()[-1]
    assert re.match(r"icvl ok \[", last)
    assert (tmp_path / "model" / "config.json").is_file()


def test_every_script_is_run() -> None:
    here = Path(__file__).read_text()
    scripts = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("render_")}
    assert all(name in here for name in scripts)


def write_robot(folder: Path) -> None:
    """Write a hand with two joints per finger and the links of the Allegro hand."""
    parts, limit = ['<link name="wrist"/>'], '<limit lower="0" upper="1.6" effort="1" velocity="1"/>'
    for number, y in ((3, 0.04), (7, 0.0), (11, -0.04), (15, 0.06)):
        chain = ("wrist", f"knuckle_{number}", f"link_{number}.0", f"link_{number}.0_tip")
        parts += [f'<link name="{link}"/>' for link in chain[1:]]
        for i, (parent, child) in enumerate(itertools.pairwise(chain)):
            kind, origin = "fixed" if i == 2 else "revolute", f"0 {y if i == 0 else 0} {0.1 if i == 0 else 0.07}"
            parts.append(
                f'<joint name="{child}_joint" type="{kind}"><parent link="{parent}"/><child link="{child}"/>'
                f'<origin xyz="{origin}"/><axis xyz="0 1 0"/>{limit}</joint>'
            )
    (folder / "allegro_hand").mkdir()
    robot = "".join(parts)
    (folder / "allegro_hand" / "allegro_hand_right.urdf").write_text(f'<robot name="hand">{robot}</robot>')


def test_a_robot_hand(tmp_path: Path) -> None:
    pytest.importorskip("dex_retargeting")
    write_robot(tmp_path)
    header, *rows = (line.split() for line in run("robot_hand.py", tmp_path, cwd=tmp_path).splitlines())
    assert len(rows) == 45
    angles = dict(zip(header[2:], zip(*(map(float, row[1:]) for row in rows), strict=True), strict=True))
    # In the recording, the fingers bend while the thumb remains extended.
    assert len(angles) == 8
    assert max(max(values) for values in angles.values()) > 0.5


def ros2_node(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class of the node, without ROS."""
    for name in ("rclpy", "rclpy.node", "rclpy.qos", "geometry_msgs.msg", "sensor_msgs.msg"):
        module: Any = ModuleType(name)
        module.__getattr__ = lambda _: object
        monkeypatch.setitem(sys.modules, name, module)
    return runpy.run_path(str(EXAMPLES / "ros2_node.py"))["HandNode"]


def test_the_ros2_node_survives_a_repeated_time_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    node, said = object.__new__(ros2_node(monkeypatch)), list[str]()
    node.tracker = HandTracker(HandPoseEstimator.from_pretrained("msra", device="cpu"))
    node.camera = Camera(60.0, 60.0, 31.5, 23.5, 64, 48)
    node.get_logger = lambda: SimpleNamespace(warning=said.append)
    stamp = SimpleNamespace(sec=1, nanosec=0)
    image = SimpleNamespace(header=SimpleNamespace(stamp=stamp), encoding="16UC1", is_bigendian=0)
    image.height, image.width, image.step, image.data = 48, 64, 128, bytes(48 * 128)
    for _ in range(2):
        node.on_image(image)
    assert said == ["frame times must increase, got 1.0 s after 1.0 s"]


def test_the_ros2_node_reports_images_that_are_no_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    node, said = object.__new__(ros2_node(monkeypatch)), list[str]()
    node.get_logger = lambda: SimpleNamespace(error=lambda text, once: said.append(text))
    node.on_image(SimpleNamespace(encoding="rgb8"))
    assert said == ["image: expected one of 16UC1, mono16, 32FC1, got rgb8"]


@pytest.mark.parametrize(
    ("topic", "d", "camera"),
    [
        ("/depth/image_raw", LENS, Camera(400.0, 410.0, 320.0, 240.0, 640, 480, Distortion("brown_conrady", LENS))),
        ("/camera/depth/image_rect", LENS, Camera(380.0, 390.0, 310.0, 230.0, 640, 480)),
        ("/camera/depth/image_rect_raw", (0.0,) * 5, Camera(400.0, 410.0, 320.0, 240.0, 640, 480)),
    ],
)
def test_the_ros2_node_uses_the_lens_of_raw_images(
    topic: str, d: tuple[float, ...], camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = ros2_node(monkeypatch)
    kind.resolve_topic_name = lambda _, name: topic
    node, k = object.__new__(kind), [400.0, 0.0, 320.0, 0.0, 410.0, 240.0, 0.0, 0.0, 1.0]
    p = [380.0, 0.0, 310.0, 0.0, 0.0, 390.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    node.on_info(SimpleNamespace(k=k, d=d, p=p, width=640, height=480, distortion_model="plumb_bob"))
    assert node.camera == camera


def test_the_ros2_node_is_a_node() -> None:
    node = pytest.importorskip("rclpy.node", reason="ROS 2 is not installed")
    assert issubclass(runpy.run_path(str(EXAMPLES / "ros2_node.py"))["HandNode"], node.Node)
