"""Files of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from handpose import HandPoseError
from handpose.io.choices import Format
from handpose.io.resumable import lock_output
from handpose.results.writers import open_writer


@pytest.mark.parametrize("format", ["jsonl", "csv", "uvd", "json", "npz", "mcap"])
def test_a_file_that_another_process_is_writing_is_rejected_and_unchanged(tmp_path: Path, format: Format) -> None:
    file = tmp_path / f"out.{format}"
    file.write_text("results")
    with lock_output(file), pytest.raises(HandPoseError, match="another process"), open_writer(format, file, {}):
        pass
    assert file.read_text() == "results"
    with open_writer(format, file, {}):
        pass
    assert file.read_bytes() != b"results"
