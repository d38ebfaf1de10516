from __future__ import annotations

import csv
import errno
import io
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from handpose import HandPose, HandPoseError
from handpose.cli import main as cli
from handpose.cli.console import with_options
from handpose.errors import DeviceMemoryError
from handpose.geometry.layouts import MSRA21
from handpose.geometry.uvd import read_predictions
from tests.helpers.command import CAMERA, OPEN, run
from tests.helpers.paths import EXAMPLES, SHARED


def test_only_errors_of_memory_space_and_permissions_are_usage_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raises(error: BaseException) -> None:
        raise error

    monkeypatch.setattr(cli, "app", lambda **_: raises(DeviceMemoryError("no room")))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: no room\n"
    monkeypatch.setattr(cli, "app", lambda **_: raises(OSError(errno.ENOSPC, "No space left on device", "run/a")))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: run/a: cannot be used (No space left on device)\n"
    monkeypatch.setattr(cli, "app", lambda **_: raises(FileNotFoundError(errno.ENOENT, "a bug")))
    with pytest.raises(FileNotFoundError):
        cli.main()
    monkeypatch.setattr(cli, "app", lambda **_: raises(MemoryError("a bug")))
    with pytest.raises(MemoryError, match="a bug"):
        cli.main()


@pytest.mark.parametrize(
    ("message", "printed"),
    [
        ("pass `force=True` to overwrite it", "pass --force to overwrite it"),
        ("omit `max_hands=...` or `device=cpu`", "omit --max-hands or --device cpu"),
        ("set `labeled_by` to `person`", "set `labeled_by` to `person`"),
    ],
)
def test_arguments_in_messages_of_the_library_are_printed_as_options(message: str, printed: str) -> None:
    assert with_options(message) == printed


def test_a_model_that_is_passed_as_an_argument_is_an_option(tmp_path: Path) -> None:
    code, _, err = run("export", "nyu", "-o", tmp_path / "nyu.onnx")
    assert code == 2
    assert "unexpected extra argument" in err
    assert "a model is an option: -m nyu; see" in err


def test_predict_writes_one_record_per_image() -> None:
    code, out, err = run("predict", EXAMPLES, *CAMERA)
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    skipped = "1 subfolder with depth files is skipped; pass --recursive to include it"
    assert err == f"warning: {EXAMPLES}: {skipped}\nwarning: {EXAMPLES}: ignored recordings: 1 (.hpr)\n"
    assert [Path(record["source"]).name for record in records] == ["down.png", "open.png", "thumb.png"]
    assert list(records[0]) == [
        *("source", "status", "model", "layout", "hand", "hand_index", "joints", "xyz_mm", "uvz", "spread_mm"),
        *("error_mm", "center_mm", "cube_mm", "camera", "warnings"),
    ]
    for record in records:
        truth = json.loads(Path(record["source"]).with_suffix(".truth.json").read_text())
        errors = np.linalg.norm(np.array(record["xyz_mm"]) - truth["xyz_mm"], axis=1)
        assert errors.mean() < 12.0
        assert record["joints"] == truth["joints"] == list(MSRA21.joints)
        assert HandPose.from_dict(record).status == "ok"


def test_one_broken_file_fails_alone(tmp_path: Path) -> None:
    for name in ("a", "c"):
        (tmp_path / f"{name}.png").write_bytes(Path(OPEN).read_bytes())
    (tmp_path / "b.png").write_bytes(Path(OPEN).read_bytes()[:5000])
    cv2.imwrite(str(tmp_path / "d.png"), np.zeros((480, 640), np.uint8))
    np.save(tmp_path / "e.npy", np.ones((100, 90)))
    np.save(tmp_path / "f.npy", np.zeros((480, 640), np.float32))
    code, out, err = run("predict", tmp_path, *CAMERA, "--batch-size", 2)
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert "".join(Path(record["source"]).stem for record in records) == "abcdef"
    assert [record["status"] for record in records] == ["ok", "error", "ok", "error", "error", "no_hand"]
    assert records[3]["reason"].startswith("is an 8-bit gray PNG")
    with pytest.raises(HandPoseError, match=r"b\.png: has no pose because the frame failed: .*the PNG is truncated"):
        HandPose.from_dict(records[1])
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert sum("d.png: is an 8-bit gray PNG" in line or "b.png: the PNG is truncated" in line for line in lines) == 2
    assert any("e.npy" in line and "90 x 100" in line for line in lines)
    assert err.splitlines()[-1] == "3 of 6 inputs failed; their records contain the reasons"
    code, out, err = run("predict", tmp_path / "d.png", *CAMERA)
    assert (code, json.loads(out)["reason"]) == (1, records[3]["reason"])
    assert err == f"error: {tmp_path / 'd.png'}: {records[3]['reason']}\n"


def test_many_similar_failures_are_summarized(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in "abcdefgh":
        (folder / f"{name}{name}.png").write_bytes(Path(OPEN).read_bytes()[:5000])
    cv2.imwrite(str(folder / "z.png"), np.zeros((480, 640), np.uint8))
    shutil.copy(OPEN, folder / "open.png")
    code, _, err = run("predict", folder, *CAMERA, "-o", tmp_path / "out.csv")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1
    assert [Path(line.split(": ")[1]).name for line in errors] == [*(f"{x}{x}.png" for x in "abcde"), "z.png"]
    assert [line.endswith("(further errors like this are not printed)") for line in errors] == [
        *[False] * 4,
        True,
        False,
    ]
    assert err.splitlines()[-1] == f"9 of 10 inputs failed; {tmp_path / 'out.csv'} contains the reasons"
    assert (tmp_path / "out.csv").read_text().count("the PNG is truncated") == 8
    _, _, err = run("live", folder, *CAMERA)
    assert err.count("warning: skipped") == 6


def test_the_extension_determines_the_format_and_the_folder_is_created(tmp_path: Path) -> None:
    file = tmp_path / "new" / "out.csv"
    assert run("predict", OPEN, *CAMERA, "-o", file)[0] == 0
    assert file.read_text().startswith("source,status,")


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "npz", "uvd"])
def test_all_formats_contain_the_same_values(tmp_path: Path, form: str) -> None:
    inputs = [OPEN, str(EXAMPLES / "thumb.png")]
    _, expected, _ = run("predict", *inputs, *CAMERA)
    records = [json.loads(line) for line in expected.splitlines()]
    file = tmp_path / f"out.{form}"
    code, out, _ = run("predict", *inputs, *CAMERA, "--format", form, "-o", file)
    assert (code, out) == (0, "")
    xyz, errors = (np.array([record[key] for record in records]) for key in ("xyz_mm", "error_mm"))
    if form == "jsonl":
        assert file.read_text() == expected
    elif form == "json":
        assert json.loads(file.read_text()) == records
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
        got = np.array([[float(row[f"{axis}_mm"]) for axis in "xyz"] for row in rows]).reshape(xyz.shape)
        assert np.allclose(got, xyz)
        assert np.allclose([float(row["error_mm"]) for row in rows], errors.ravel())
        assert [row["joint"] for row in rows] == [*MSRA21.joints] * 2
    elif form == "uvd":
        uvz = np.array([record["uvz"] for record in records])
        assert np.allclose(read_predictions(file, MSRA21), uvz, atol=0.006)
    else:
        with np.load(file) as arrays:
            assert np.allclose(arrays["xyz_mm"], xyz, atol=0.006)
            assert np.allclose(arrays["error_mm"], errors, atol=0.006)
            assert arrays["source"].tolist() == inputs
            assert arrays["joints"].tolist() == [*MSRA21.joints]


def test_pictures_are_drawn_and_overwriting_requires_force(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "open.png").write_bytes(Path(OPEN).read_bytes())
    arguments = ["predict", OPEN, other, *CAMERA, "--draw", tmp_path / "pictures", "-o", tmp_path / "out.jsonl"]
    assert run(*arguments)[0] == 0
    for name in ("open.png", "open-2.png"):
        assert cv2.imread(str(tmp_path / "pictures" / name)).shape == (960, 1280, 3)
    before = (tmp_path / "out.jsonl").read_bytes()
    code, _, err = run(*arguments)
    assert code == 2
    assert "pass --force to overwrite" in err
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert run(*arguments, "--force")[0] == 0


def test_the_hand_is_classified(tmp_path: Path) -> None:
    np.save(tmp_path / "mirror.npy", cv2.imread(OPEN, cv2.IMREAD_UNCHANGED)[:, ::-1])
    code, out, _ = run("predict", OPEN, tmp_path / "mirror.npy", *CAMERA)
    assert (code, [json.loads(line)["hand"] for line in out.splitlines()]) == (0, ["right", "left"])


def test_globs_and_repeated_inputs(tmp_path: Path) -> None:
    other_spelling = EXAMPLES.parent / "tests" / ".." / EXAMPLES.name / "open.png"
    code, out, err = run("predict", str(EXAMPLES / "[ot]*.png"), OPEN, other_spelling, *CAMERA)
    assert (code, err) == (0, "warning: inputs that occur more than once are predicted once: 2\n")
    assert [Path(json.loads(line)["source"]).name for line in out.splitlines()] == ["open.png", "thumb.png"]


def test_hand_centers_from_the_command_line_and_a_file(tmp_path: Path) -> None:
    truth = json.loads((EXAMPLES / "open.truth.json").read_text())["xyz_mm"]
    x, y, z = np.mean(truth, axis=0)
    (tmp_path / "centers.txt").write_text(f"{x} {-y} {z}\ninvalid\n")
    code, out, _ = run("predict", OPEN, EXAMPLES / "thumb.png", *CAMERA, "--center", tmp_path / "centers.txt", "--y-up")
    first, second = (json.loads(line) for line in out.splitlines())
    assert code == 0
    assert first["center_mm"] == pytest.approx([x, y, z], abs=0.01)
    assert second["status"] == "no_hand"
    assert second["xyz_mm"][0] == [None, None, None]
    _, out, _ = run("predict", OPEN, *CAMERA, "--center", f"{x},{y},{z}")
    assert json.loads(out)["xyz_mm"] == first["xyz_mm"]
    code, _, err = run("predict", OPEN, *CAMERA, "--center", tmp_path / "centers.txt")
    assert (code, "has 2 centers for 1 images" in err) == (2, True)


def test_raw_depth_is_never_overwritten(tmp_path: Path) -> None:
    raw = tmp_path / "in.png"
    raw.write_bytes(Path(OPEN).read_bytes())
    for arguments in (
        ["-o", raw, "--format", "csv"],
        ["--draw", tmp_path],
        ["--draw", tmp_path / ".." / tmp_path.name],
    ):
        code, _, err = run("predict", raw, *CAMERA, *arguments, "--force")
        assert (code, "is one of the inputs" in err) == (2, True)
    assert raw.read_bytes() == Path(OPEN).read_bytes()


def test_results_are_not_overwritten_by_their_picture(tmp_path: Path) -> None:
    file, same = tmp_path / "out.png", tmp_path / ".." / tmp_path.name / "out.png"
    code, _, err = run("predict", OPEN, *CAMERA, "-o", file, "--format", "jsonl", "--draw", same)
    assert (code, "out.png: cannot be the file of two outputs" in err) == (2, True)
    assert not any(tmp_path.iterdir())


def test_an_unknown_model_preserves_existing_results(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old")
    arguments = [
        "predict",
        OPEN,
        *CAMERA,
        "-m",
        "nothing",
        "-o",
        tmp_path / "out.jsonl",
        "--draw",
        tmp_path / "pictures",
    ]
    assert run(*arguments, "--force")[0] == 2
    assert (tmp_path / "out.jsonl").read_text() == "old"
    assert not (tmp_path / "pictures").exists()


def test_one_invalid_center_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "centers.txt").write_text("10 10 500\n0 0 0\n10 10 500\n\n")
    images = [EXAMPLES / f"{name}.png" for name in ("open", "thumb", "down")]
    code, out, err = run("predict", *images, *CAMERA, "--center", tmp_path / "centers.txt")
    assert code == 1
    assert [json.loads(line)["status"] == "error" for line in out.splitlines()] == [False, True, False]
    assert "thumb.png: a hand center must" in err


def test_version_and_module() -> None:
    import handpose

    assert run("--version") == (0, f"{handpose.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predict"], 2, "error: missing argument"),
        (["predict", "*.nothing"], 2, "no file matches"),
        (["predict", OPEN, "-c", "kinect"], 2, "camera must be one of"),
        (["predict", OPEN, "-c", "msra", "--unit", "cm"], 2, "unit must be mm, m, nyu"),
        (["predict", OPEN, "-m", "nothing"], 2, "nothing: no such weights"),
        (["predict", OPEN, "--center", "1,2"], 2, "--center X,Y,Z"),
        (["predict", OPEN, "-c", "msra", "--unit", "0"], 2, "unit must be mm, m, nyu"),
        (["predict", OPEN, "-o", "-"], 2, "written to stdout by default; omit -o"),
        (["predict", ""], 2, "an input is empty"),
        (["predict", OPEN, "--format", "npz", "-o", "/proc/no/out.npz"], 2, "cannot be written"),
        (["predict", OPEN, "--box", "1,2"], 2, "--box X,Y,W,H"),
        (["predict", OPEN, "--center", "1,2,3", "--box", "1,2,3,4"], 2, "not both"),
        (["predict", OPEN, "--center", "1,2,300", "--y-up"], 2, "the y axis of --center X,Y,Z points down"),
        (["predict", OPEN, "--format", "npz"], 2, "pass an output file with --output"),
        (["predict", OPEN, "--device", "abacus"], 2, "device must be auto, cpu, cuda"),
        (["predict", OPEN, "-o", "/proc/no/out.jsonl"], 2, "cannot be written"),
        (["predict", "s3://bucket/a.png"], 2, "read with --engine ray"),
        (["predict", OPEN, "--hand", "both"], 2, "'--hand': 'both' is not one of 'right', 'left', 'auto'; see"),
        (["predict", OPEN, "-c", "msra", "--topic", "/depth"], 2, "a topic is that of a ROS bag"),
        (["live", "synthetic", "-c", "msra"], 2, "synthetic: the source provides its intrinsics"),
        (["convert", "nothing", "--layout", "nyu"], 2, "missing option '--output'"),
        (["predict", "@/dev/null"], 2, "/dev/null: the list of inputs is empty"),
        (["predict", "frames.tar"], 2, "read with --engine ray"),
        (["evaluate", "-m", "msra", "-m", "nyu"], 2, "the same joints, got msra and nyu"),
        (["evaluate", "--report", "a.pdf"], 2, "a report must be a .json, .csv, .html file, got a.pdf"),
        (["train", "run", "--steps", "1", "--seed", "-1"], 2, "'--seed': it must be greater than or equal to 0"),
        (["export", "-o", "hand.pb"], 2, "expected -o FILE.onnx or -o FILE.xml"),
        (["convert", "nothing", "-o", "out", "--layout", "nyu"], 2, "nothing.index: no such file"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    got, out, err = run(*arguments, cwd=tmp_path)
    assert got == code
    assert message in err
    assert out == ""
    assert not list(tmp_path.iterdir())


def test_no_camera_is_a_warning_once() -> None:
    code, out, err = run("predict", EXAMPLES)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert err.count("no camera given") == 1


def test_a_daemon_may_close_standard_streams() -> None:
    command = shlex.join([sys.executable, "-m", "handpose", "predict", ""])
    done = subprocess.run(f"{command} <&- >&-", shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: an input is empty; expected a file, a folder or a glob\n"


def test_models_lists_the_records() -> None:
    from handpose.weights.registry import WEIGHTS

    code, out, _ = run("models")
    assert code == 0
    for record in WEIGHTS.values():
        for text in (record.name, f"{record.parameters:,} parameters", record.license, str(record.built_in)):
            assert text in out
        for error in record.error_mm.values():
            assert f"{error:.1f} mm" in out


@pytest.mark.shared
def test_convert_then_predict(tmp_path: Path) -> None:
    prefix = SHARED / "reference" / "tf-icvl" / "3D_Detection.model-1"
    assert run("convert", prefix, "-o", tmp_path / "icvl", "--layout", "icvl")[0] == 0
    code, out, _ = run("predict", OPEN, *CAMERA, "-m", tmp_path / "icvl", "--backend", "torch")
    assert code == 0
    assert json.loads(out)["layout"] == "icvl"
