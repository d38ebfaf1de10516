"""The outputs of `handpose live`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handpose.cli.command import WINDOW
from handpose.cli.console import say
from handpose.cli.options import Force
from handpose.errors import HandPoseError
from handpose.io.atomic import write_all
from handpose.io.extras import require_extra
from handpose.io.outputs import refuse_existing, require_folder, writing
from handpose.io.resumable import lock_output

if TYPE_CHECKING:
    from handpose.inference.tracker import TrackedHand
    from handpose.live.outputs import HandOutput
    from handpose.live.rerun_viewer import RerunViewer
    from handpose.live.session import Viewer
    from handpose.recordings.mcap import Recorder


_OTHER_FORMATS = (".csv", ".npz", ".uvd", ".parquet", ".mcap")


@dataclass(frozen=True)
class LiveOutputs:
    """Where frames and hands go."""

    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Record the processed frames.")] = None
    view: Annotated[
        str | None,
        typer.Option("--view", metavar="[FILE.rrd|URL]", help="Show frames and hands in Rerun (extra `view`)."),
    ] = None
    show: Annotated[
        bool, typer.Option("--show", help="Show frames and hands in the browser, for this machine only.")
    ] = False
    mcap: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the hands as ROS 2 messages to this MCAP file.")
    ] = None
    udp: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Also send each line of JSON to this address by UDP.")
    ] = None
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="JSON lines.", show_default="stdout")
    ] = None
    force: Force = False

    def check(self, source: str) -> None:
        """Reject outputs that exist, are the source or are the same file, before anything is opened."""
        if self.view is not None:
            require_extra("view", "--view")
        if self.output is not None and self.output.name == "-":
            raise HandPoseError("results are written to stdout by default; omit -o")
        if self.output is not None and self.output.suffix.lower() in _OTHER_FORMATS:
            raise HandPoseError(
                f"{self.output}: -o writes JSON lines, so its name should end with .jsonl; --mcap writes an MCAP file, "
                "and handpose predict writes other formats from a recording"
            )
        taken = {Path(source).resolve(): "is the source; results must go elsewhere"}
        for path in self._files():
            if problem := taken.get(path.resolve()):
                raise HandPoseError(f"{path}: {problem}")
            taken[path.resolve()] = "cannot be the file of two outputs; pass another one"
            require_folder(path)
            refuse_existing(path, force=self.force)

    def lock(self, stack: contextlib.ExitStack) -> None:
        """Reject files that another process is writing to, and keep other processes from writing to them.

        Devices, such as `/dev/null`, are not locked.
        """
        for path in self._files():
            if path.is_file() or not path.exists():
                with writing(path):
                    stack.enter_context(lock_output(path))

    def _files(self) -> list[Path]:
        return [path for path in (self.record, self.mcap, self.output) if path is not None]

    def open_recorder(self, stack: contextlib.ExitStack) -> Recorder | None:
        """Open the recorder of the frames."""
        from handpose.recordings.mcap import Recorder

        if self.record is None:
            return None
        return stack.enter_context(contextlib.closing(Recorder(self.record, force=self.force)))

    def open_viewers(self, stack: contextlib.ExitStack) -> list[Viewer]:
        """Open the windows that show frames and hands."""
        viewers: list[Viewer] = []
        if self.view is not None:
            viewers.append(stack.enter_context(contextlib.closing(self._open_rerun(self.view))))
        if self.show:
            from handpose.live.browser_viewer import BrowserViewer

            viewer = stack.enter_context(contextlib.closing(BrowserViewer()))
            viewers.append(viewer)
            say(viewer.address)
            typer.launch(viewer.address)
        return viewers

    def _open_rerun(self, view: str) -> RerunViewer:
        from handpose.live.rerun_viewer import ADDRESS, RerunViewer

        if view != WINDOW and not view.endswith(".rrd") and not view.startswith(ADDRESS):
            raise HandPoseError(f"--view {view}: expected a file that ends with .rrd, or rerun+http://HOST:9876/proxy")
        return RerunViewer(None if view == WINDOW else view, force=self.force)

    def open_results(self, stack: contextlib.ExitStack) -> ResultLines:
        """Open the outputs of the hands."""
        from handpose.live.outputs import open_outputs

        lines = None if self.output is None else stack.enter_context(_open_lines(self.output))
        others = [stack.enter_context(contextlib.closing(other)) for other in open_outputs(self.mcap, self.udp)]
        return ResultLines(lines, others)


@dataclass(frozen=True)
class ResultLines:
    """Writes hands as JSON lines to a file, or to stdout for None, and to other outputs."""

    lines: FileIO | None
    others: Sequence[HandOutput]

    def write(self, time: float, hands: Sequence[TrackedHand]) -> None:
        """Write the hands of a frame at once, so that they are kept if the program is terminated."""
        for hand in hands:
            line = json.dumps(hand.to_dict()) + "\n"
            if self.lines is None:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                _append(self.lines, line.encode())
        for other in self.others:
            other.write(time, hands)


def _append(file: FileIO, line: bytes) -> None:
    with writing(str(file.name)):
        end = file.tell()
        try:
            write_all(file, line)
        except OSError:
            file.truncate(end)
            raise


def _open_lines(path: Path) -> FileIO:
    with writing(path):
        return FileIO(path, "w")
