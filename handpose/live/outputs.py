"""Outputs of a live session for other programs: an MCAP file, and UDP."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from handpose.errors import HandPoseError
from handpose.inference.tracker import TrackedHand
from handpose.io.warn import warn
from handpose.results.mcap import HandMcapWriter


class HandOutput(Protocol):
    """An output of tracked hands."""

    def write(self, time: float, hands: Sequence[TrackedHand]) -> None:
        """Add the hands of a frame with the capture time `time` in s."""
        ...

    def close(self) -> None:
        """Complete the output."""
        ...


class McapOutput:
    """Writes hands to an MCAP file with `HandMcapWriter`.

    Raises:
        HandPoseError: The file cannot be written, or a time is not in seconds. This applies to all methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("wb")
            self._writer = HandMcapWriter(self._file)
        except OSError as error:
            raise self._failure(error) from None

    def write(self, time: float, hands: Sequence[TrackedHand]) -> None:
        """Add the hands of a frame."""
        try:
            self._writer.write(time, [(hand.id, hand.pose) for hand in hands])
        except OSError as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Complete the file."""
        try:
            with self._file:
                self._writer.finish()
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> HandPoseError:
        return HandPoseError(f"{self._path}: cannot be written ({error})")


class UdpOutput:
    """Sends the record of every hand as one UDP datagram with a line of JSON.

    Args:
        address: `HOST:PORT`, or `[HOST]:PORT` for IPv6.

    Raises:
        HandPoseError: The address is invalid, or its host is unknown.
    """

    def __init__(self, address: str) -> None:
        self._name = address
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise HandPoseError(f"{address}: expected HOST:PORT, such as 127.0.0.1:9999")
        host = host.removeprefix("[").removesuffix("]")
        try:
            resolved = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
            # Names such as localhost often stand for an IPv6 address first, but most receivers only listen on IPv4.
            found = min(resolved, key=lambda each: each[0] != socket.AF_INET)
            self._socket = socket.socket(*found[:3])
        except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is empty or too long
            raise HandPoseError(f"{address}: cannot be reached ({error})") from None
        self._address = found[4]

    def write(self, time: float, hands: Sequence[TrackedHand]) -> None:
        """Send the hands of a frame.

        Warns:
            UserWarning: The network does not accept them. UDP never confirms that they arrive.
        """
        try:
            for hand in hands:
                self._socket.sendto(json.dumps(hand.to_dict()).encode() + b"\n", self._address)
        except OSError as error:
            warn(f"{self._name}: hands cannot be sent ({error})")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def open_outputs(mcap: Path | None, udp: str | None) -> list[HandOutput]:
    """Open the requested outputs.

    Args:
        mcap: MCAP file to write.
        udp: Address to send to.

    Raises:
        HandPoseError: The file cannot be written, or the address is invalid.
    """
    outputs: list[HandOutput] = []
    if udp is not None:
        outputs.append(UdpOutput(udp))
    if mcap is not None:
        outputs.append(McapOutput(mcap))
    return outputs
