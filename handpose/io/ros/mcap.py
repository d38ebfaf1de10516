"""MCAP files (https://mcap.dev/spec) with ROS 2 messages, without chunks: a message is readable once it is written."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from handpose.io.ros.messages import definition

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _DATA_END = 1, 2, 3, 4, 5, 15
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEADER = struct.Struct("<HIQQ")


class McapMessage(NamedTuple):
    """A message, and where its record starts in the file.

    Attributes:
        topic: Topic of the message.
        data: The message in CDR.
        offset: Offset of the record in bytes.
    """

    topic: str
    data: bytes
    offset: int


class McapWriter:
    """Write messages to a file.

    Args:
        file: An empty file.
        library: Name of the program that writes the file.

    Raises:
        OSError: The file cannot be written. This applies to all methods.
    """

    def __init__(self, file: BinaryIO, library: str) -> None:
        self._file = file
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._sequence = 0
        file.write(MAGIC + _record(_HEADER, _text("ros2") + _text(library)))

    def write(self, topic: str, kind: str, seconds: float, data: bytes) -> None:
        """Append a message.

        Args:
            topic: Topic of the message.
            kind: Type, such as `sensor_msgs/msg/CameraInfo`.
            seconds: Time of the message in s.
            data: The message in CDR.
        """
        records = b""
        if topic not in self._channels:
            if kind not in self._schemas:
                self._schemas[kind] = len(self._schemas) + 1
                schema = _text(kind) + _text("ros2msg") + _text(definition(kind))
                records += _record(_SCHEMA, struct.pack("<H", self._schemas[kind]) + schema)
            self._channels[topic] = len(self._channels) + 1
            channel = _text(topic) + _text("cdr") + struct.pack("<I", 0)
            records += _record(_CHANNEL, struct.pack("<HH", self._channels[topic], self._schemas[kind]) + channel)
        time = max(0, round(seconds * 1e9))
        header = _MESSAGE_HEADER.pack(self._channels[topic], self._sequence, time, time)
        self._sequence = (self._sequence + 1) % (1 << 32)
        self._file.write(records + _record(_MESSAGE, header + data))

    def close(self) -> None:
        """Write the end of the file, without closing it."""
        self._file.write(_record(_DATA_END, bytes(4)) + _record(_FOOTER, bytes(20)) + MAGIC)


def read_library(file: BinaryIO) -> str | None:
    """Return the name of the program that wrote a file of ROS 2 messages, or None if it is another file."""
    if file.read(len(MAGIC)) != MAGIC:
        return None
    kind, size = _RECORD.unpack(file.read(_RECORD.size).ljust(_RECORD.size, b"\0"))
    try:
        profile, rest = _split(file.read(min(size, 1000)))
        return _split(rest)[0] if kind == _HEADER and profile == "ros2" else None
    except ValueError:
        return None


def read_messages(file: BinaryIO) -> Iterator[McapMessage]:
    """Yield the messages of a file without chunks, up to the last complete one.

    Args:
        file: The file, after its header.

    Raises:
        ValueError: The file is damaged.
    """
    topics: dict[int, str] = {}
    end = file.seek(0, 2)
    at = file.seek(len(MAGIC))
    while len(head := file.read(_RECORD.size)) == _RECORD.size:
        kind, size = _RECORD.unpack(head)
        if kind in (_DATA_END, _FOOTER) or at + _RECORD.size + size > end:
            return
        if kind in (_CHANNEL, _MESSAGE):
            content = file.read(size)
            try:
                if kind == _CHANNEL:
                    topics[struct.unpack_from("<H", content)[0]] = _split(content[4:])[0]
                else:
                    channel = _MESSAGE_HEADER.unpack_from(content)[0]
                    yield McapMessage(topics[channel], content[_MESSAGE_HEADER.size :], at)
            except (struct.error, KeyError):
                raise ValueError("a record is damaged") from None
        at = file.seek(at + _RECORD.size + size)


def _record(kind: int, content: bytes) -> bytes:
    return _RECORD.pack(kind, len(content)) + content


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def _split(data: bytes) -> tuple[str, bytes]:
    """Return the string at the start of `data`, and the rest."""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 + size:
        raise ValueError("a string is truncated")
    return data[4 : 4 + size].decode(), data[4 + size :]
