"""Checks of a video file's container before anything is decoded: how many samples it claims, and whether it is intact.

FFmpeg trusts the header of a file and silently skips what it cannot parse: frames are then missing, and all later
frames get a wrong number. The checks here follow only the sizes and markers from one part of the file to the next. They
cover MP4 and QuickTime, Matroska and WebM, AVI, MPEG transport streams, and GIF; other containers have no structure
that would show damage.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["PARTS", "STREAMS", "claimed_samples", "structural_fault"]

PARTS = 5_000_000  # maximum number of frames, audio samples and boxes in a file; FFmpeg keeps some 30 bytes of each
STREAMS = 64  # maximum number of video, audio and text streams in a file
# MP4: boxes that contain boxes, their maximum depth, and the boxes with tables of samples
HOLDERS = (b"moov", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts", b"dinf", b"udta")
DEEPEST = 10
SOUND = (b"soun", b"url ", b"alis")  # handlers of an audio track and of the place where its data lie
TABLES = (b"stsz", b"stz2", b"stts", b"stsc", b"stco", b"co64", b"trun")
LARGEST = 2**24  # maximum bytes of a table that are read
PIECE = 1024  # uncompressed audio samples that FFmpeg keeps as one entry
# Matroska: identifiers of the elements at the top level, in a segment and in a cluster
SEGMENT, CLUSTER = 0x18538067, 0x1F43B675
ELEMENTS = {
    SEGMENT,
    CLUSTER,
    0x1A45DFA3,
    0x114D9B74,
    0x1549A966,
    0x1654AE6B,
    0x1C53BB6B,
    0x1254C367,
    0x1941A469,
    0x1043A770,
    0xEC,
    0xBF,
    0xE7,
    0xA3,
    0xA0,
    0xA7,
    0xAB,
    0x5854,
    0xAF,
}
SYNC, PACKETS = 0x47, ((188, 0), (192, 4), (204, 0))  # transport streams: sync byte, and packet size with its offset
CUT, BROKEN = "cut short", "damaged"


def claimed_samples(path: Path) -> int:
    """Number of frames and audio samples that the tables of an MP4 or QuickTime file claim; 0 for other files.

    A result above `PARTS` means that the file claims more than `PARTS`, or hides its counts in a compressed header.
    """
    with path.open("rb") as file:
        return _samples(file.fileno(), 0, os.fstat(file.fileno()).st_size, {})


def structural_fault(path: Path, container: str) -> str:
    """The fault in a file's structure: "cut short", "damaged", or "" where no fault is visible.

    Args:
        path: the video file.
        container: FFmpeg's name of the container, such as "matroska,webm".
    """
    checks = {
        "mov": _broken_fragments,
        "matroska": _broken_elements,
        "avi": _cut_riff,
        "mpegts": _out_of_step,
        "gif": _cut_gif,
    }
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        return next((check(file.fileno(), length) for name, check in checks.items() if container.startswith(name)), "")


def _boxes(fd: int, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box in [at, end), and begin and end of its content; the end may lie beyond the end of the file."""
    while at + 8 <= end:
        size, kind = struct.unpack(">I4s", os.pread(fd, 8, at))
        head = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(os.pread(fd, 8, at + 8), "big")
        size = size or end - at
        if size < head:
            return
        yield kind, at + head, at + size
        at += size


def _samples(fd: int, at: int, end: int, track: dict[str, int], depth: int = 0) -> int:
    """Number of samples that the boxes in [at, end) claim.

    The counts of the surrounding track are added to `track`, from which `_of_track` computes its samples.
    """
    total, streams = 0, 0
    for parts, (kind, begin, stop) in enumerate(_boxes(fd, at, end)):
        stop = min(stop, end)
        if kind == b"trak":
            streams += 1
            if streams > STREAMS or depth > DEEPEST:  # FFmpeg reads no further
                break
            inner: dict[str, int] = {}
            total += _samples(fd, begin, stop, inner, depth + 1) + _of_track(inner)
        elif kind in HOLDERS and depth < DEEPEST:
            total += _samples(fd, begin, stop, track, depth + 1)
        elif kind == b"hdlr":
            handler = os.pread(fd, 4, begin + 8)
            track["sound"] = track.get("sound", 0) + (handler == b"soun")
            track["others"] = track.get("others", 0) + (handler not in SOUND)
        elif kind in TABLES and stop - begin >= 8:
            rows = np.frombuffer(os.pread(fd, min(stop - begin, LARGEST) // 4 * 4, begin), ">u4")
            if kind == b"trun":
                total += int(rows[1])
            elif kind == b"stts":  # one run of samples, each one tick long, is uncompressed audio
                track["others"] = track.get("others", 0) + (len(rows) < 4 or rows[1] != 1 or rows[3] != 1)
            elif kind == b"stsc":
                track["chunk"] = int(rows[3::3].max(initial=track.get("chunk", 0)))  # most samples in a chunk
            else:
                number = int(rows[2 if kind in (b"stsz", b"stz2") and len(rows) > 2 else 1])
                name = "samples" if kind in (b"stsz", b"stz2") else "chunks"
                track[name] = max(track.get(name, 0), number)
        if total > PARTS or parts > PARTS or kind == b"cmov":  # a compressed header hides its counts
            return PARTS + 1
    return total


def _of_track(track: dict[str, int]) -> int:
    if track.get("others", 1) or not track.get("sound"):
        return track.get("samples", 0)
    return track.get("chunks", 0) * track.get("chunk", 0) // PIECE


def _broken_fragments(fd: int, length: int) -> str:
    """The fault of a fragmented MP4 file, whose boxes must follow each other without gaps up to the end of the file."""
    fragmented, at = False, 0
    for kind, _, stop in _boxes(fd, 0, length):
        fragmented = fragmented or kind == b"moof"
        if fragmented and not (kind.isascii() and kind.decode().isprintable()):
            return BROKEN
        at = stop
    return "" if not fragmented or at == length else CUT if at > length else BROKEN


def _broken_elements(fd: int, length: int) -> str:
    """The fault of a Matroska file, whose elements must be known and follow each other without gaps.

    Anything behind the end of the segment is ignored.
    """
    at, end = 0, -1
    for _ in range(PARTS):
        if at >= length:
            return "" if at == length else CUT
        head = os.pread(fd, 12, at)
        wide = 9 - head[0].bit_length()  # bytes of the identifier
        name = int.from_bytes(head[:wide], "big")
        if name not in ELEMENTS or len(head) <= wide:
            return "" if at == end else BROKEN
        long = 9 - head[wide].bit_length()  # bytes of the size
        size = int.from_bytes(head[wide : wide + long], "big") & (1 << 7 * long) - 1
        at += wide + long
        unknown = size == (1 << 7 * long) - 1
        if name == SEGMENT and not unknown:
            end = at + size
            if end > length:
                return CUT
        if name not in (SEGMENT, CLUSTER):
            if unknown:
                return BROKEN
            at += size
    return BROKEN


def _cut_riff(fd: int, length: int) -> str:
    at = 0
    while at + 8 <= length:
        name, size = struct.unpack("<4sI", os.pread(fd, 8, at))
        if name != b"RIFF" or size in (0, 2**32 - 1):  # some recorders never fill in the size
            return ""
        at += 8 + size + size % 2
    return CUT if at > length + 16 else ""  # some writers include the header in the size


def _out_of_step(fd: int, length: int) -> str:
    """The fault of a transport stream, whose packets must have the same size and each carry the sync byte."""
    head = np.frombuffer(os.pread(fd, 204 * 6, 0), np.uint8)
    for size, place in PACKETS:
        for first in range(min(size, len(head) - 5 * size)):
            if (head[first + place :: size][:5] == SYNC).all():
                at, step = first + place, size * 2**16
                while at < length:
                    if (np.frombuffer(os.pread(fd, step, at), np.uint8)[::size] != SYNC).any():
                        return BROKEN
                    at += step
                return ""
    return ""  # too few packets, or no sync at the start: FFmpeg decides


def _cut_gif(fd: int, length: int) -> str:
    end = os.pread(fd, 64, max(0, length - 64)).rstrip(b"\0")
    return "" if end.endswith(b";") else CUT
