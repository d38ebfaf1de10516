"""A ROS 2 node that tracks a hand in a depth stream, and publishes its joints. It has not been tested with ROS.

    python examples/ros2_node.py --ros-args -r image:=/camera/depth/image_rect_raw \\
        -r camera_info:=/camera/depth/camera_info

Subscribes to `image` (sensor_msgs/Image, 16UC1 or mono16 in mm, or 32FC1 in m) and `camera_info`, and publishes `hand`
(geometry_msgs/PoseArray, in meters in the frame of the image).
"""

from __future__ import annotations

import sys

import numpy as np

from handpose import Camera, HandPoseError, HandPoseEstimator, HandTracker

try:
    import rclpy
    from geometry_msgs.msg import Pose, PoseArray
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CameraInfo, Image
except ModuleNotFoundError as error:
    sys.exit(f"this node requires ROS 2 ({error}): source its setup file, such as /opt/ros/jazzy/setup.bash")

TYPES = {"16UC1": ("u2", 1.0), "mono16": ("u2", 1.0), "32FC1": ("f4", 1000.0)}


class HandNode(Node):
    def __init__(self) -> None:
        super().__init__("handpose")
        self.tracker = HandTracker(HandPoseEstimator.from_pretrained("msra"))
        self.camera: Camera | None = None
        self.hand = self.create_publisher(PoseArray, "hand", 1)
        self.create_subscription(CameraInfo, "camera_info", self.on_info, qos_profile_sensor_data)
        self.create_subscription(Image, "image", self.on_image, qos_profile_sensor_data)

    def on_info(self, info: CameraInfo) -> None:
        # Rectified images have no distortion; P is their matrix, and K that of the images before.
        topic = self.resolve_topic_name("image").rpartition("/")[2]
        matrix, lens = (info.p, []) if "rect" in topic and any(info.d) else (info.k, info.d)
        self.camera = Camera.of(
            {
                "K": list(matrix),
                "width": info.width,
                "height": info.height,
                "D": list(lens),
                "distortion_model": info.distortion_model,
            }
        )

    def on_image(self, image: Image) -> None:
        if image.encoding not in TYPES:
            self.get_logger().error(f"image: expected one of {', '.join(TYPES)}, got {image.encoding}", once=True)
            return
        if self.camera is None:
            return
        kind, unit = TYPES[image.encoding]
        dtype = np.dtype((">" if image.is_bigendian else "<") + kind)
        rows = np.frombuffer(image.data, dtype).reshape(image.height, image.step // dtype.itemsize)
        depth = np.nan_to_num(rows[:, : image.width].astype(np.float32)) * np.float32(unit)
        seconds = image.header.stamp.sec + image.header.stamp.nanosec / 1e9
        try:
            hands = self.tracker.update(depth, self.camera, seconds)
        except HandPoseError as error:  # such as a time stamp that was repeated
            self.get_logger().warning(str(error))
            return
        for hand in hands:
            message = PoseArray(header=image.header)
            for x, y, z in hand.pose.xyz / 1000.0:
                pose = Pose()
                pose.position.x, pose.position.y, pose.position.z = float(x), float(y), float(z)
                message.poses.append(pose)
            self.hand.publish(message)


if __name__ == "__main__":
    rclpy.init()
    rclpy.spin(HandNode())
