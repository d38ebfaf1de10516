from __future__ import annotations

import os
from pathlib import Path

import pytest

from handpose.errors import HandPoseError
from handpose.io.cache import cache_folder


@pytest.mark.skipif(os.name == "nt", reason="users have no numbers there")
def test_a_user_without_a_home_directory_can_choose_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, folder in (("", ".cache/handpose"), ("~/graphs", "graphs"), (str(tmp_path / "a"), "a")):
        monkeypatch.setenv("HANDPOSE_CACHE", value)
        assert cache_folder() == tmp_path / folder
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)  # as in a container with an arbitrary user
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("HANDPOSE_CACHE")
    with pytest.raises(HandPoseError, match="set HANDPOSE_CACHE to a folder"):
        cache_folder()
