"""The coordinate frame and the definitions of the ROS 2 messages that the package writes."""

from __future__ import annotations

CAMERA_FRAME = "camera_depth_optical_frame"
"""Name of the camera frame, whose axes are those of the package: x right, y down, z forward."""

_FIELDS = {
    "builtin_interfaces/msg/Time": ("int32 sec", "uint32 nanosec"),
    "std_msgs/msg/Header": ("builtin_interfaces/Time stamp", "string frame_id"),
    "std_msgs/msg/Float64": ("float64 data",),
    "std_msgs/msg/String": ("string data",),
    "sensor_msgs/msg/CompressedImage": ("std_msgs/Header header", "string format", "uint8[] data"),
    "sensor_msgs/msg/RegionOfInterest": (
        "uint32 x_offset",
        "uint32 y_offset",
        "uint32 height",
        "uint32 width",
        "bool do_rectify",
    ),
    "sensor_msgs/msg/CameraInfo": (
        "std_msgs/Header header",
        "uint32 height",
        "uint32 width",
        "string distortion_model",
        "float64[] d",
        "float64[9] k",
        "float64[9] r",
        "float64[12] p",
        "uint32 binning_x",
        "uint32 binning_y",
        "sensor_msgs/RegionOfInterest roi",
    ),
    "geometry_msgs/msg/Vector3": ("float64 x", "float64 y", "float64 z"),
    "geometry_msgs/msg/Point": ("float64 x", "float64 y", "float64 z"),
    "geometry_msgs/msg/Quaternion": ("float64 x 0", "float64 y 0", "float64 z 0", "float64 w 1"),
    "geometry_msgs/msg/Pose": ("geometry_msgs/Point position", "geometry_msgs/Quaternion orientation"),
    "geometry_msgs/msg/PoseArray": ("std_msgs/Header header", "geometry_msgs/Pose[] poses"),
    "geometry_msgs/msg/Transform": ("geometry_msgs/Vector3 translation", "geometry_msgs/Quaternion rotation"),
    "geometry_msgs/msg/TransformStamped": (
        "std_msgs/Header header",
        "string child_frame_id",
        "geometry_msgs/Transform transform",
    ),
    "tf2_msgs/msg/TFMessage": ("geometry_msgs/TransformStamped[] transforms",),
}


def definition(kind: str) -> str:
    """Return the fields of a message, followed by the definitions of the messages that they contain."""
    kinds = [kind]
    for one in kinds:
        for field in _FIELDS[one]:
            package, _, name = field.split(" ")[0].partition("[")[0].partition("/")
            if name and (inner := f"{package}/msg/{name}") not in kinds:
                kinds.append(inner)
    parts = ["".join(f"{field}\n" for field in _FIELDS[one]) for one in kinds]
    titles = [f"MSG: {one.replace('/msg/', '/')}\n" for one in kinds[1:]]
    return parts[0] + "".join(f"{'=' * 80}\n{title}{part}" for title, part in zip(titles, parts[1:], strict=True))
