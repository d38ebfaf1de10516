"""`handpose predict`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from handpose.cli.groups import Engine, Images, KeypointOptions
from handpose.cli.options import BatchSize, Force, Json, Model, Recursive, Side, parse_numbers
from handpose.cli.predict_cluster import run_on_cluster
from handpose.cli.predict_local import run_local
from handpose.errors import HandPoseError
from handpose.io.choices import DEFAULT_HAND, Format, HandOrAuto
from handpose.io.extras import require_extra
from handpose.io.inputs import expand_lists
from handpose.jobs.job import PredictJob, PredictOptions

if TYPE_CHECKING:
    from handpose.inference.query import Query


@dataclass(frozen=True)
class Location:
    """Where the hand is."""

    center: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z|FILE", help="Hand center in mm (y down), or a file with one per image."),
    ] = None
    y_up: Annotated[bool, typer.Option("--y-up", help="The y axis of the --center file points up.")] = False
    box: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Box around the hand in px.")] = None

    def centers(self, on_cluster: bool) -> Path | None:
        """Return the file of centers, if it is one."""
        is_file = self.center is not None and not on_cluster and Path(self.center).is_file()
        return Path(self.center) if is_file else None  # type: ignore[arg-type]

    def query(self, images: Images, hand: HandOrAuto, on_cluster: bool) -> Query:
        """Return what is known about all images."""
        from handpose.inference.query import Query

        camera, unit = images.parse()
        center, box = None, None
        if self.center is not None and self.centers(on_cluster) is None:
            center = parse_numbers(
                self.center, 3, f"--center X,Y,Z {'with --engine ray' if on_cluster else 'or a file'}"
            )
        if self.box is not None:
            box = parse_numbers(self.box, 4, "--box X,Y,W,H")
        return Query(camera, center, box, hand, unit)  # type: ignore[arg-type] # four numbers


@dataclass(frozen=True)
class Results:
    """What is written."""

    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Results; with ray, a folder or URL.", show_default="stdout"
        ),
    ] = None
    format: Annotated[
        Format | None,
        typer.Option(metavar="FORMAT", help="jsonl, json, csv, npz, uvd, parquet or mcap.", show_default="by FILE"),
    ] = None
    as_json: Json = False
    draw: Annotated[Path | None, typer.Option(metavar="FOLDER|FILE.png", help="Write pictures of the results.")] = None
    html: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER|FILE.html", help="Write web pages that show hands in 3D."),
    ] = None
    force: Force = False
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted job, by FILE.manifest.jsonl next to FILE.")
    ] = False

    def check(self) -> None:
        """Reject options that exclude each other."""
        if self.output == "-":
            raise HandPoseError("results are written to stdout by default; omit -o")
        if self.force and self.resume:
            raise HandPoseError("pass --force to start over or --resume to continue, not both")
        if self.as_json and (self.output is not None or self.format not in (None, "jsonl")):
            raise HandPoseError("--json prints JSON lines; pass it without -o and --format")

    def format_or_default(self, has_keypoints: bool) -> Format | None:
        """Return the given format, that of the output's extension, or None for lines on a terminal."""
        if self.format is not None:
            return self.format
        if self.output is None:
            return "jsonl" if self.as_json or has_keypoints or not sys.stdout.isatty() else None
        formats: tuple[Format, ...] = get_args(Format)
        suffix = Path(self.output).suffix.lower()
        for known in formats:
            if suffix == f".{known}":
                return known
        raise HandPoseError(f"{self.output}: the extension must be one of .{', .'.join(formats)}; or pass --format")


@dataclass(frozen=True)
class Cluster:
    """Where the job runs."""

    engine: Annotated[Literal["local", "ray"], typer.Option(help="Run on this machine or a Ray cluster.")] = "local"
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of the Ray cluster.", show_default="this machine")
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Maximum number of replicas.", show_default="as many as fit"),
    ] = None


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders, globs, recordings; @FILE or - for a list."),
    ],
    images: Images,
    location: Location,
    results: Results,
    keypoints: KeypointOptions,
    network: Engine,
    cluster: Cluster,
    model: Model = "msra",
    hand: Side = DEFAULT_HAND,
    max_hands: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of hands per image.")] = 1,
    batch_size: BatchSize = 16,
    recursive: Recursive = False,
) -> None:
    """Predict the hand joints in depth images, in millimeters.

    Prints a line per image on a terminal, and JSON lines otherwise. Parquet files require the extra `table`.
    --engine ray requires the extra `ray`; it also reads URLs, .tar files and .parquet files.

    Exit code: 0 success, 1 some or all inputs failed, 2 usage error or a job that cannot be started or completed, 130
    Ctrl-C, 141 broken pipe, 143 SIGTERM.
    """
    if location.center is not None and location.box is not None:
        raise HandPoseError("pass --center or --box, not both")
    if max_hands > 1 and (location.center is not None or location.box is not None):
        raise HandPoseError("--center and --box locate a single hand; omit them or --max-hands")
    results.check()
    on_cluster = cluster.engine == "ray"
    if location.y_up and location.centers(on_cluster) is None:
        raise HandPoseError("--y-up is for a file of centers; the y axis of --center X,Y,Z points down; omit --y-up")
    how: dict[str, Any] = vars(network)  # checked on use
    job = PredictJob(
        list(expand_lists(inputs, sys.stdin.buffer)),
        results.output,
        PredictOptions(
            model, location.query(images, hand, on_cluster), batch_size=batch_size, max_hands=max_hands, **how
        ),
        centers=location.centers(on_cluster),
        y_up=location.y_up,
        force=results.force,
        resume=results.resume,
        topic=images.topic,
        recursive=recursive,
        keypoints=keypoints.parse(),
    )
    if on_cluster:
        if images.topic is not None:
            raise HandPoseError("--topic is not supported by --engine ray, which does not read recordings")
        if results.format or results.draw or results.html or results.as_json or job.keypoints:
            raise HandPoseError(
                "--engine ray writes Parquet to -o, without --format, --json, --draw, --html, --joints, --meters "
                "and --extrinsics"
            )
        require_extra("ray", "--engine ray")
        run_on_cluster(job, cluster.address, cluster.workers)
        return
    if cluster.address or cluster.workers:
        raise HandPoseError("--address and --workers require --engine ray")
    format = results.format_or_default(job.keypoints is not None)
    if job.keypoints and format not in ("jsonl", "json"):
        raise HandPoseError(f"--joints, --meters and --extrinsics require jsonl or json, got {format}")
    run_local(job, format, results.draw, results.html)
