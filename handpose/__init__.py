"""3D hand joints from a single depth image."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from handpose.version import __version__ as __version__

if TYPE_CHECKING:  # `as` marks names as public for type checkers
    from handpose.adaptation.adapt import adapt as adapt
    from handpose.adaptation.announce import FewFramesWarning as FewFramesWarning
    from handpose.adaptation.finetune import finetune as finetune
    from handpose.adaptation.heads import TunedHeads as TunedHeads
    from handpose.adaptation.outcome import Measure as Measure
    from handpose.adaptation.outcome import Tuned as Tuned
    from handpose.adaptation.teacher import UnlabeledFrames as UnlabeledFrames
    from handpose.datasets.catalog import open_dataset as open_dataset
    from handpose.datasets.dataset import HandDataset as HandDataset
    from handpose.datasets.dataset import LabeledFrame as LabeledFrame
    from handpose.datasets.nyu import write_nyu as write_nyu
    from handpose.datasets.records import RecordDataset as RecordDataset
    from handpose.datasets.records import open_records as open_records
    from handpose.errors import DepthReadError as DepthReadError
    from handpose.errors import DeviceMemoryError as DeviceMemoryError
    from handpose.errors import HandPoseError as HandPoseError
    from handpose.errors import SourceLostError as SourceLostError
    from handpose.errors import UnknownJointError as UnknownJointError
    from handpose.errors import WeightsError as WeightsError
    from handpose.evaluation.compare import compare_files as compare_files
    from handpose.evaluation.evaluate import evaluate as evaluate
    from handpose.evaluation.label_check import check_labels as check_labels
    from handpose.evaluation.report import Report as Report
    from handpose.geometry.camera import CAMERAS as CAMERAS
    from handpose.geometry.camera import Camera as Camera
    from handpose.geometry.crop import HandCrop as HandCrop
    from handpose.geometry.distortion import Distortion as Distortion
    from handpose.geometry.hand_frames import read_extrinsics as read_extrinsics
    from handpose.geometry.joint_orders import Keypoints as Keypoints
    from handpose.geometry.layouts import ICVL16 as ICVL16
    from handpose.geometry.layouts import LAYOUTS as LAYOUTS
    from handpose.geometry.layouts import MSRA21 as MSRA21
    from handpose.geometry.layouts import NYU14 as NYU14
    from handpose.geometry.layouts import JointLayout as JointLayout
    from handpose.geometry.uvd import write_predictions as write_predictions
    from handpose.inference.diagnosis import check_frame as check_frame
    from handpose.inference.estimator import HandPoseEstimator as HandPoseEstimator
    from handpose.inference.frame_times import FrameTimesWarning as FrameTimesWarning
    from handpose.inference.query import AssumedCameraWarning as AssumedCameraWarning
    from handpose.inference.query import Query as Query
    from handpose.inference.tracker import HandTracker as HandTracker
    from handpose.inference.tracker import OneEuro as OneEuro
    from handpose.inference.tracker import TrackedHand as TrackedHand
    from handpose.io.depth.read import read_depth as read_depth
    from handpose.io.depth.units import DepthUnitWarning as DepthUnitWarning
    from handpose.io.warn import InputWarning as InputWarning
    from handpose.io.warn import SkippedFrameWarning as SkippedFrameWarning
    from handpose.jobs.cluster.predictor import HandPosePredictor as HandPosePredictor
    from handpose.jobs.pipeline import FetchedFile as FetchedFile
    from handpose.jobs.pipeline import FileResult as FileResult
    from handpose.jobs.pipeline import predict_files as predict_files
    from handpose.live.pacing import newest_frame as newest_frame
    from handpose.live.rerun_viewer import RerunViewer as RerunViewer
    from handpose.live.sources.catalog import open_source as open_source
    from handpose.localization.centers import read_centers as read_centers
    from handpose.localization.localizer import localize_hands as localize_hands
    from handpose.network.config import JGRP2OConfig as JGRP2OConfig
    from handpose.recordings.frame import DepthFrame as DepthFrame
    from handpose.recordings.mcap import Recorder as Recorder
    from handpose.results.page import pose_page as pose_page
    from handpose.results.pose import HandPose as HandPose
    from handpose.results.pose import PoseWarning as PoseWarning
    from handpose.results.pose import draw_hands as draw_hands
    from handpose.results.table import to_dataframe as to_dataframe
    from handpose.results.table import to_table as to_table
    from handpose.training.config import TrainingConfig as TrainingConfig
    from handpose.training.on_synthetic import synthetic_task as synthetic_task
    from handpose.training.pose_task import write_model as write_model
    from handpose.training.trainer import train as train
    from handpose.weights.registry import WEIGHTS as WEIGHTS
    from handpose.weights.resolve import find_weights as find_weights

_NAMES = {
    "adaptation.adapt": ("adapt",),
    "adaptation.announce": ("FewFramesWarning",),
    "adaptation.finetune": ("finetune",),
    "adaptation.heads": ("TunedHeads",),
    "adaptation.outcome": ("Measure", "Tuned"),
    "adaptation.teacher": ("UnlabeledFrames",),
    "datasets.catalog": ("open_dataset",),
    "datasets.dataset": ("HandDataset", "LabeledFrame"),
    "datasets.nyu": ("write_nyu",),
    "datasets.records": ("RecordDataset", "open_records"),
    "errors": (
        "DepthReadError",
        "DeviceMemoryError",
        "HandPoseError",
        "SourceLostError",
        "UnknownJointError",
        "WeightsError",
    ),
    "evaluation.compare": ("compare_files",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.label_check": ("check_labels",),
    "evaluation.report": ("Report",),
    "geometry.camera": ("CAMERAS", "Camera"),
    "geometry.crop": ("HandCrop",),
    "geometry.distortion": ("Distortion",),
    "geometry.hand_frames": ("read_extrinsics",),
    "geometry.joint_orders": ("Keypoints",),
    "geometry.layouts": ("ICVL16", "LAYOUTS", "MSRA21", "NYU14", "JointLayout"),
    "inference.diagnosis": ("check_frame",),
    "inference.estimator": ("HandPoseEstimator",),
    "inference.frame_times": ("FrameTimesWarning",),
    "inference.query": ("AssumedCameraWarning", "Query"),
    "inference.tracker": ("HandTracker", "OneEuro", "TrackedHand"),
    "io.depth.read": ("read_depth",),
    "io.depth.units": ("DepthUnitWarning",),
    "io.warn": ("InputWarning", "SkippedFrameWarning"),
    "jobs.cluster.predictor": ("HandPosePredictor",),
    "jobs.pipeline": ("FetchedFile", "FileResult", "predict_files"),
    "live.pacing": ("newest_frame",),
    "live.rerun_viewer": ("RerunViewer",),
    "live.sources.catalog": ("open_source",),
    "localization.centers": ("read_centers",),
    "localization.localizer": ("localize_hands",),
    "network.config": ("JGRP2OConfig",),
    "recordings.frame": ("DepthFrame",),
    "recordings.mcap": ("Recorder",),
    "results.page": ("pose_page",),
    "results.pose": ("HandPose", "PoseWarning", "draw_hands"),
    "results.table": ("to_dataframe", "to_table"),
    "geometry.uvd": ("write_predictions",),
    "training.config": ("TrainingConfig",),
    "training.on_synthetic": ("synthetic_task",),
    "training.pose_task": ("write_model",),
    "training.trainer": ("train",),
    "weights.registry": ("WEIGHTS",),
    "weights.resolve": ("find_weights",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    # Names are loaded on first use, so that `import handpose` is fast.
    if name not in _MODULES:
        raise AttributeError(f"module 'handpose' has no attribute {name!r}")
    return getattr(importlib.import_module(f"handpose.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
