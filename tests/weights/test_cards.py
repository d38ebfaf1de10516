"""Model cards: the Hub's own client reads their front matter, whose figures are those of the text."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from handpose.errors import HandPoseError, WeightsError
from handpose.weights.publish import publish_weights
from handpose.weights.registry import WEIGHTS
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("name", ["msra", "nyu", "icvl"])
def test_the_front_matter_has_the_license_and_the_figures_of_the_card(name: str) -> None:
    card = ModelCard.load(ROOT / "docs" / f"model-card-{name}.md")
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        *("apache-2.0", "handpose", "keypoint-detection"),
    )
    results = card.data.eval_results
    assert results is not None
    shown = re.findall(r"^\| (?:2,000 synthetic|the same images).*?\*\*([\d.]+) mm\*\*", card.text, re.M)
    assert [str(result.metric_value) for result in results] == shown
    assert {result.metric_type for result in results} == {"mean_joint_error_mm"}


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "no README.md"),
        ("# A hand\n", "does not specify a license"),
        ("---\ntags: [hand]\n---\n# A hand\n", "does not specify a license"),
        ("---\nlicense: [apache-2.0\n---\n# A hand\n", "front matter is invalid"),
        ("---\nlicense: mit\n---\n# Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n\n", "cannot be read as text"),
    ],
)
def test_weights_without_a_license_are_not_published(tmp_path: Path, card: str | None, message: str) -> None:
    folder = Path(shutil.copytree(WEIGHTS["msra"].built_in, tmp_path / "model"))
    if card is not None:
        (folder / "README.md").write_text(card, encoding="cp1252")
    with pytest.raises(HandPoseError, match=message) as caught:
        publish_weights(folder, "someone/hand")
    assert "\n" not in str(caught.value)


def test_heads_of_other_weights_are_not_published(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(WEIGHTS["msra"].built_in, tmp_path / "model"))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    shutil.copy(WEIGHTS["nyu"].built_in / "heads.safetensors", folder)
    with pytest.raises(WeightsError, match=r"heads\.safetensors: these heads belong to other weights"):
        publish_weights(folder, "someone/hand")
