"""ROS 2 messages in MCAP files, without ROS."""
