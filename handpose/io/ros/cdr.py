"""Serialization of ROS 2 messages: little-endian CDR, in which every number is aligned to its size."""

from __future__ import annotations

import struct

from handpose.errors import HandPoseError

_MAX_SECONDS = 1 << 32

_HEADER = b"\0\1\0\0"


def nanoseconds(seconds: float) -> int:
    """Return a time in ns; times before 0 become 0.

    Raises:
        HandPoseError: ROS cannot store the time.
    """
    if not abs(seconds) < _MAX_SECONDS:  # or NaN
        raise HandPoseError(f"times must be in seconds, and below {_MAX_SECONDS:,} s; got {seconds:g}")
    return max(0, round(seconds * 1e9))


class CdrWriter:
    """Serializes the fields of a message one after another."""

    def __init__(self) -> None:
        self._data = bytearray()

    def numbers(self, code: str, *values: float) -> CdrWriter:
        """Append numbers of one type, given as the code of `struct`."""
        if values:
            self._data += bytes(-len(self._data) % struct.calcsize(code))
            self._data += struct.pack(f"<{len(values)}{code}", *values)
        return self

    def text(self, value: str) -> CdrWriter:
        """Append a string."""
        return self.octets(value.encode() + b"\0")

    def octets(self, value: bytes) -> CdrWriter:
        """Append a sequence of bytes."""
        self.numbers("I", len(value))
        self._data += value
        return self

    def header(self, seconds: float, frame: str) -> CdrWriter:
        """Append a `std_msgs/Header`.

        Args:
            seconds: Time stamp in s.
            frame: Coordinate frame.

        Raises:
            HandPoseError: ROS cannot store the time.
        """
        return self.numbers("I", *divmod(nanoseconds(seconds), 1_000_000_000)).text(frame)

    def message(self) -> bytes:
        """Return the message."""
        return _HEADER + bytes(self._data)


class CdrReader:
    """Reads the fields of a message one after another.

    Raises:
        ValueError: The message is shorter than its fields, or is not little-endian CDR. This applies to all methods.
    """

    def __init__(self, message: bytes) -> None:
        if message[:2] != _HEADER[:2]:
            raise ValueError("not little-endian CDR")
        self._data, self._at = memoryview(message)[len(_HEADER) :], 0

    def numbers(self, code: str, count: int) -> tuple[float, ...]:
        """Return numbers of one type, given as the code of `struct`."""
        size = struct.calcsize(code)
        self._at += -self._at % size
        return struct.unpack(f"<{count}{code}", self._take(count * size))

    def text(self) -> str:
        """Return a string."""
        return self.octets()[:-1].tobytes().decode()

    def octets(self) -> memoryview:
        """Return a sequence of bytes."""
        return self._take(int(self.numbers("I", 1)[0]))

    def _take(self, size: int) -> memoryview:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError("the message is truncated")
        self._at += size
        return taken
