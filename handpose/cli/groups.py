"""Groups of options that several commands share; each is a parameter of a command, see `as_command`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handpose.cli.options import (
    Backend,
    Camera,
    Centers,
    Data,
    Device,
    Extrinsics,
    Joints,
    Meters,
    Precision,
    Root,
    Subject,
    TestShare,
    Topic,
    Unit,
    Views,
    Workers,
    given,
    open_data,
    parse_camera,
    parse_unit,
)
from handpose.errors import HandPoseError

if TYPE_CHECKING:
    from handpose.datasets.dataset import HandDataset
    from handpose.geometry import camera as cameras
    from handpose.inference.estimator import HandPoseEstimator
    from handpose.io.choices import Split
    from handpose.io.depth.units import DepthUnit
    from handpose.results.keypoint_records import KeypointFormat


@dataclass(frozen=True)
class Engine:
    """How the network runs."""

    device: Device = "auto"
    backend: Backend = "auto"
    precision: Precision = "float32"
    views: Views = 1

    def changed(self) -> dict[str, object]:
        """Return the options with another value than the default, by name."""
        return {f"--{name}": value for name, value in vars(self).items() if value != getattr(Engine, name)}

    def load(self, model: str) -> HandPoseEstimator:
        """Load a model."""
        from handpose.inference.estimator import HandPoseEstimator

        return HandPoseEstimator.from_pretrained(
            model,
            device=self.device,
            backend=self.backend,  # type: ignore[arg-type] # checked there
            precision=self.precision,
            views=self.views,  # type: ignore[arg-type] # checked there
        )


@dataclass(frozen=True)
class Images:
    """What is known about depth images."""

    camera: Camera = None
    unit: Unit = "mm"
    topic: Topic = None

    def parse(self) -> tuple[cameras.Camera | None, DepthUnit]:
        """Parse the camera and the unit."""
        return parse_camera(self.camera), parse_unit(self.unit)


@dataclass(frozen=True)
class KeypointOptions:
    """Another format of the joints."""

    joints: Joints = None
    meters: Meters = False
    extrinsics: Extrinsics = None

    def parse(self) -> KeypointFormat | None:
        """Parse the options; None if no option is given."""
        if self.joints is None and not self.meters and self.extrinsics is None:
            return None
        from handpose.geometry.hand_frames import read_extrinsics
        from handpose.results.keypoint_records import KeypointFormat

        extrinsics = None if self.extrinsics is None else read_extrinsics(self.extrinsics)
        return KeypointFormat(self.joints, "m" if self.meters else "mm", extrinsics)


@dataclass(frozen=True)
class LabeledData:
    """The data that a command trains or evaluates on."""

    data: Data = "synthetic"
    root: Root = None
    centers: Centers = None
    subject: Subject = None
    test_share: TestShare = None
    workers: Workers = 0

    def subjects(self) -> list[int | None]:
        """Return the test subjects that `--subject` specifies; None stands for a data set without subjects."""
        from handpose.datasets.msra import SUBJECTS

        if self.subject == "all" and self.data == "msra":
            return [*range(SUBJECTS)]
        if self.subject is not None and not self.subject.isdecimal():
            raise HandPoseError(f"--subject must be 0 to {SUBJECTS - 1}, or all with --data msra, got {self.subject!r}")
        return [None if self.subject is None else int(self.subject)]

    def open(self, split: Split, subject: int | None, cube: float | None = None) -> HandDataset | None:
        """Open the data set; None for synthetic images.

        Raises:
            HandPoseError: There are options of a data set, but it is not specified, or it cannot be opened.
        """
        if self.data == "synthetic":
            options = {
                "--root": self.root,
                "--subject": subject,
                "--cube": cube,
                "--centers": self.centers,
                "--test-share": self.test_share,
                "--workers": self.workers or None,
            }
            if names := given(options):
                raise HandPoseError(f"{names} is for data sets; specify one with --data, or omit it")
            return None
        return open_data(self.data, self.root, split, self.centers, subject, cube, self.test_share)
