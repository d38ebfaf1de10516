"""MCAP files (https://mcap.dev/spec) with ROS 2 messages. Each frame is a chunk, which is readable once written."""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections import defaultdict
from collections.abc import Generator
from typing import BinaryIO, NamedTuple

from handpose.io.ros.cdr import nanoseconds
from handpose.io.ros.messages import definition

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE = 1, 2, 3, 4, 5
_CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX, _STATISTICS, _DATA_END = 6, 7, 8, 11, 15
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEADER = struct.Struct("<HIQQ")
_MAX_CHUNK = 1 << 29  # bytes; more than those of the largest image
_CHUNK_HEADER = struct.Struct("<QQQIIQ")  # times, size, checksum, length of the name of no compression, size
_STATISTICS_NUMBERS = struct.Struct("<QHIIIIQQI")  # messages, ..., chunks, first and last time, size of what follows
_FOOTER_CONTENT = struct.Struct("<QQI")  # starts of the summary and of the offsets in it, checksum


class McapChunk(NamedTuple):
    """The messages that were written before one call of `McapWriter.flush`.

    Attributes:
        messages: The last message of each topic, in CDR.
        is_intact: Whether the checksum of the chunk is correct. Otherwise, messages may be wrong or missing.
    """

    messages: dict[str, bytes]
    is_intact: bool


class McapWriter:
    """Writes messages to a file. If writing is interrupted, such as by Ctrl-C, `close` still completes the file.

    Args:
        file: An empty file.
        library: Name of the program that writes the file.

    Raises:
        OSError: The file cannot be written. This applies to all methods.
    """

    def __init__(self, file: BinaryIO, library: str) -> None:
        self._file = file
        self._pending: list[tuple[str, str, int, bytes]] = []
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._counts: dict[int, int] = defaultdict(int)
        self._definitions = b""
        self._chunks: list[tuple[int, int, bytes]] = []
        self._file.write(MAGIC + _record(_HEADER, _text("ros2") + _text(library)))

    def add(self, topic: str, kind: str, seconds: float, data: bytes) -> None:
        """Add a message to the next chunk.

        Args:
            topic: Topic of the message.
            kind: Type, such as `sensor_msgs/msg/CameraInfo`.
            seconds: Time of the message in s.
            data: The message in CDR.

        Raises:
            HandPoseError: The time cannot be stored.
        """
        self._pending.append((topic, kind, nanoseconds(seconds), data))

    def flush(self) -> None:
        """Write the messages that were added since the last call as one chunk."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        content = b""
        entries: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for topic, kind, time, data in pending:
            content += self._define(topic, kind)
            id_ = self._channels[topic]
            entries[id_].append((time, len(content)))
            content += _record(_MESSAGE, _MESSAGE_HEADER.pack(id_, self._counts[id_] % (1 << 32), time, time) + data)
            self._counts[id_] += 1
        first, last = min(time for _, _, time, _ in pending), max(time for _, _, time, _ in pending)
        size, start = len(content), self._file.tell()
        chunk = _record(_CHUNK, _CHUNK_HEADER.pack(first, last, size, zlib.crc32(content), 0, size) + content)
        offsets, index = b"", b""
        for id_, own in entries.items():
            offsets += struct.pack("<HQ", id_, start + len(chunk) + len(index))
            index += _record(_MESSAGE_INDEX, struct.pack("<HI", id_, 16 * len(own)) + _pairs("<QQ", own))
        location = struct.pack("<QQQQ", first, last, start, len(chunk))
        location += struct.pack("<I", len(offsets)) + offsets + struct.pack("<QIQQ", len(index), 0, size, size)
        self._file.write(chunk + index)
        self._file.flush()
        self._chunks.append((first, last, _record(_CHUNK_INDEX, location)))

    def _define(self, topic: str, kind: str) -> bytes:
        """Return the definitions of a topic and its type that are not in the file yet."""
        definitions = b""
        if topic not in self._channels:
            if kind not in self._schemas:
                self._schemas[kind] = len(self._schemas) + 1
                schema = _text(kind) + _text("ros2msg") + _text(definition(kind))
                definitions += _record(_SCHEMA, struct.pack("<H", self._schemas[kind]) + schema)
            self._channels[topic] = len(self._channels) + 1
            channel = _text(topic) + _text("cdr") + struct.pack("<I", 0)
            definitions += _record(_CHANNEL, struct.pack("<HH", self._channels[topic], self._schemas[kind]) + channel)
        self._definitions += definitions
        return definitions

    def close(self) -> None:
        """Write the index, without closing the file. Messages that were added since the last `flush` are dropped."""
        self._file.write(_record(_DATA_END, bytes(4)))
        summary = self._file.tell()
        start, end = min((one[0] for one in self._chunks), default=0), max((one[1] for one in self._chunks), default=0)
        counts = _pairs("<HQ", list(self._counts.items()))
        parts = len(self._schemas), len(self._channels), 0, 0, len(self._chunks)
        numbers = _STATISTICS_NUMBERS.pack(sum(self._counts.values()), *parts, start, end, len(counts))
        index = b"".join(record for _, _, record in self._chunks)
        self._file.write(self._definitions + index + _record(_STATISTICS, numbers + counts))
        self._file.write(_record(_FOOTER, _FOOTER_CONTENT.pack(summary, 0, 0)) + MAGIC)
        self._file.flush()


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


def read_chunks(file: BinaryIO) -> Generator[McapChunk, None, bool]:
    """Yield the chunks of a file without compression, up to the last complete one, and return whether it is the last.

    Args:
        file: The file.

    Raises:
        ValueError: The file is damaged or compressed. A file that ends too early is not damaged.
    """
    topics: dict[int, str] = {}
    end = file.seek(0, 2)
    stated, found = _stated_chunks(file), 0
    at = file.seek(len(MAGIC))
    while len(head := file.read(_RECORD.size)) == _RECORD.size:
        kind, size = _RECORD.unpack(head)
        if kind in (_DATA_END, _FOOTER) or at + _RECORD.size + size > end:
            break
        if kind == _CHUNK:
            if not _CHUNK_HEADER.size <= size <= _MAX_CHUNK:
                raise ValueError("a chunk is damaged")
            *_, checksum, compression, _ = _CHUNK_HEADER.unpack(file.read(_CHUNK_HEADER.size))
            if compression:
                raise ValueError("its chunks are compressed")
            content = file.read(size - _CHUNK_HEADER.size)
            yield _parse_chunk(content, topics, is_intact=zlib.crc32(content) == checksum)
            found += 1
        at = file.seek(at + _RECORD.size + size)
    if stated is not None and found < stated:
        raise ValueError("a record is damaged")
    return stated is not None


def _stated_chunks(file: BinaryIO) -> int | None:
    """Return the number of chunks according to the statistics at the end of a file; None if it was not completed."""
    size = _RECORD.size + _FOOTER_CONTENT.size + len(MAGIC)
    end = file.seek(0, 2) - size
    file.seek(max(0, end))
    tail = file.read()
    if len(tail) < size or not tail.endswith(MAGIC):
        return None
    at, *_ = _FOOTER_CONTENT.unpack_from(tail, _RECORD.size)
    with contextlib.suppress(struct.error):  # of a damaged summary
        while len(MAGIC) <= at < end:
            file.seek(at)
            kind, size = _RECORD.unpack(file.read(_RECORD.size))
            if kind == _STATISTICS:
                numbers = _STATISTICS_NUMBERS.unpack(file.read(_STATISTICS_NUMBERS.size))
                return int(numbers[5])
            at += _RECORD.size + size
    return None


def _parse_chunk(content: bytes, topics: dict[int, str], *, is_intact: bool) -> McapChunk:
    """Return a chunk, and add the topics of its channels to `topics`. A damaged one is read as far as possible."""
    messages: dict[str, bytes] = {}
    at = 0
    try:
        while at < len(content):
            kind, size = _RECORD.unpack_from(content, at)
            start, at = at + _RECORD.size, at + _RECORD.size + size
            record = content[start:at]
            if kind == _CHANNEL:
                topics[struct.unpack_from("<H", record)[0]] = _split(record[4:])[0]
            elif kind == _MESSAGE:
                topic = topics.get(_MESSAGE_HEADER.unpack_from(record)[0])
                if topic is not None:  # else, an earlier chunk that defined it is damaged
                    messages[topic] = record[_MESSAGE_HEADER.size :]
    except (struct.error, ValueError):
        if is_intact:
            raise ValueError("a record is damaged") from None
    return McapChunk(messages, is_intact)


def _record(kind: int, content: bytes) -> bytes:
    return _RECORD.pack(kind, len(content)) + content


def _pairs(code: str, pairs: list[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack(code, *pair) for pair in pairs)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def _split(data: bytes) -> tuple[str, bytes]:
    """Return the string at the start of `data`, and the rest."""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 + size:
        raise ValueError("a string is truncated")
    return data[4 : 4 + size].decode(), data[4 + size :]
