from __future__ import annotations

import csv
import json
import re
import sys
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from handpose.errors import HandPoseError
from handpose.evaluation.metrics import Evaluation
from handpose.evaluation.plots import draw_evaluations
from handpose.evaluation.report import Entry, Report
from handpose.geometry.camera import CAMERAS
from handpose.geometry.layouts import NYU14

HOSTILE = '_<script src="http://example.org/x.js">$\\frac{1}$ --> & "\'</script>'


def offsets(distance: float, missing: tuple[int, ...] = ()) -> Evaluation:
    truth = np.random.default_rng(0).normal([0, 0, 500], 50, (20, 14, 3))
    predicted = truth + np.array([0, 0, distance])
    predicted[list(missing)] = np.nan
    return Evaluation.of(predicted, truth)


@pytest.fixture
def report() -> Report:
    entries = [
        Entry("ours", offsets(4.5, (3, 7, 8, 9)), "localized"),
        Entry(HOSTILE, offsets(12.25), "true joints"),
    ]
    return Report("NYU", NYU14, entries, CAMERAS["nyu"], ["synthetic frames"])


class Page(HTMLParser):
    """Text, unclosed tags, and every URL that a browser would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.texts, self.loaded, self.tags = list[str](), list[str](), list[str](), list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_contains_the_values_and_is_self_contained(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "report.html")
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not page.open
    assert "script" not in page.tags
    for cell in ("ours", HOSTILE, "4.500", "12.250", "4.500 to 4.500", "80.0%", "100.0%", "pinky_tip"):
        assert cell in page.texts, cell
    text = " ".join(page.texts)
    assert "NYU, 20 frames, 14 joints (nyu)" in text
    assert "fx 588.03 px, fy 587.07 px" in text
    assert f"ours: localized; {HOSTILE}: true joints" in text
    assert "synthetic frames" in text
    assert "ours: no prediction in frames (zero-based) 3, 7-9" in text
    assert len(page.loaded) == 4
    for image in page.loaded:
        prefix, data = image.split(",")
        assert prefix == "data:image/svg+xml;base64"
        svg = b64decode(data).decode()
        for element in ET.fromstring(svg).iter():  # only references to shapes in the same file
            links = [value for name, value in element.attrib.items() if name.endswith(("href", "src"))]
            assert all(link.startswith("#") for link in links)
            assert not element.tag.endswith(("script", "image", "foreignObject"))
    assert not re.search(r"url\(|@import|//(?!example\.org)", re.sub(r"base64,[^\"]*", "", source))


def test_the_table_shows_the_values(report: Report) -> None:
    table = report.table()
    for text in ("NYU, 20 frames", "localized", "synthetic frames", "4.500", "12.250", "80.0%", "3, 7-9"):
        assert text in table
    assert "-" in next(line for line in table.splitlines() if line.startswith("ours")).split()[-1]  # infinite p95
    one = Report("NYU", NYU14, [Entry("only", offsets(1.0), "given")])
    assert "hand centers: given" in one.table()
    assert "no prediction" not in one.table()
    assert "camera: that of each frame" in one.table()


def test_json_and_csv_contain_the_same_values(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "r.json")
    report.write(tmp_path / "r.csv")
    values = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert values == json.loads(json.dumps(report.to_dict()))
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["name"] for row in rows] == ["ours", HOSTILE] == [result["name"] for result in values["results"]]
    assert values["camera"]["fx"] == 588.03
    for row, result, mean in zip(rows, values["results"], (4.5, 12.25), strict=True):
        assert float(row["mean_mm"]) == float(row["z_mm"]) == result["mean_mm"] == mean
        assert float(row["mean_low95_mm"]) == result["mean_interval95_mm"][0]
        assert float(row["finger_thumb_mm"]) == result["per_finger_mm"]["thumb"] == mean
        assert float(row["thumb_tip_mm"]) == result["per_joint_mm"]["thumb_tip"] == mean
        assert row["centers"] == result["centers"]
    assert rows[0]["p95_mm"] == ""
    curve = dict(zip(values["thresholds_mm"], values["results"][0]["success_curve"], strict=True))
    assert (curve[0], curve[4], curve[5], curve[80]) == (0, 0, 0.8, 0.8)


def test_plots_are_written_as_png(report: Report, tmp_path: Path) -> None:
    paths = report.plot(tmp_path / "new" / "plots")
    assert [path.name for path in paths] == [
        "success_rate.png", "per_joint.png", "per_finger.png", "error_histogram.png"
    ]  # fmt: skip
    again = report.plot(tmp_path / "again")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    for path in paths:
        image = cv2.imread(str(path))
        assert min(image.shape[:2]) > 400
        assert image.std() > 5


def test_the_histogram_of_partial_labels_has_a_share_of_all_labeled_joints() -> None:
    truth = np.random.default_rng(0).normal([0, 0, 500], 50, (20, 14, 3))
    labeled = np.where(np.arange(14)[:, None] < 5, truth, np.nan)
    evaluation = Evaluation.of(truth + np.array([0.0, 0.0, 9.5]), labeled, partial=True)
    (histogram,) = draw_evaluations({"ours": evaluation}, NYU14)["error_histogram"].axes[0].patches
    assert histogram.get_data().values[9] == pytest.approx(100.0)


def test_more_predictions_than_colors_are_distinguishable() -> None:
    figures = draw_evaluations({f"method {i}": offsets(i + 1.0) for i in range(16)}, NYU14)
    lines = figures["success_rate"].axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 16
    bars = [container.patches[0] for container in figures["per_finger"].axes[0].containers]
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in bars}) == 16
    assert [bar.get_height() for bar in bars] == pytest.approx(np.arange(1, 17))


def test_the_best_of_a_table_is_bold(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "report.html")
    best = re.findall(r"<td class=best>([^<]*)</td>", (tmp_path / "report.html").read_text(encoding="utf-8"))
    assert best[0] == "4.500"  # the mean
    assert best[-14:] == ["4.500"] * 14  # the joints
    assert "100.0%" in best
    assert "80.0%" in best  # within 10 mm, where the other has none
    Report("NYU", NYU14, report.entries[:1]).write(tmp_path / "alone.html")
    assert "<td class=best>" not in (tmp_path / "alone.html").read_text(encoding="utf-8")


def test_evaluations_without_any_prediction_are_reported(tmp_path: Path) -> None:
    none = Report("NYU", NYU14, [Entry("none", offsets(1.0, tuple(range(20))), "given")])
    none.write(tmp_path / "report.html")
    none.plot(tmp_path)
    assert "0-19" in none.table()
    assert "nan" not in none.table()


def test_without_matplotlib_the_extra_is_named(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for write in (lambda: report.write(tmp_path / "r.html"), lambda: report.plot(tmp_path)):
        with pytest.raises(HandPoseError, match=r"pip install 'handpose\[plot\]'"):
            write()
    report.write(tmp_path / "r.json")


def test_invalid_reports_are_rejected(report: Report, tmp_path: Path) -> None:
    with pytest.raises(HandPoseError, match=r"\.json, \.csv, \.html file, got .*r\.pdf"):
        report.write(tmp_path / "r.pdf")
    with pytest.raises(HandPoseError, match="cannot be written"):
        report.write(tmp_path / "none" / "r.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(HandPoseError, match="is a file; expected a folder for the plots"):
        report.plot(tmp_path / "file")
    entry = report.entries[0]
    with pytest.raises(HandPoseError, match="different names"):
        Report("NYU", NYU14, [entry, entry])
    with pytest.raises(HandPoseError, match="different names"):
        Report("NYU", NYU14, [])
    shorter = Entry("shorter", Evaluation(entry.evaluation.offsets[:5]), "given")
    with pytest.raises(HandPoseError, match=r"same frames and of 14 joints, got .*\(5, 14\), \(20, 14\)"):
        Report("NYU", NYU14, [entry, shorter])
