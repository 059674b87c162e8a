"""Write small videos of numbered frames, in any container, and read the numbers back."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from sapnet_core.datasets import decoding

av = pytest.importorskip("av")
BITS = 8


def picture(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame (H, W, 3), uint8, that shows its number: the lower half is eight black or white columns, one for each bit
    from the lowest on the left; above them lies a gradient."""
    base = np.add.outer(np.linspace(60, 120, height), np.linspace(0, 60, width))
    image = np.stack([base, base[::-1], base[:, ::-1]], 2)
    edges = np.linspace(0, width, BITS + 1).round().astype(int)
    for bit, (a, b) in enumerate(zip(edges, edges[1:], strict=False)):
        image[height // 2 :, a:b] = 255 * (number >> bit & 1)
    return image.round().astype(np.uint8)


def numbers(frames: torch.Tensor) -> list[int]:
    """The numbers that frames (T, 3, H, W) show, modulo 256."""
    height, width = frames.shape[2:]
    edges = np.linspace(0, width, BITS + 1)
    middle = [round((a + b) / 2) for a, b in zip(edges, edges[1:], strict=False)]
    row = frames[:, :, height * 3 // 4].float().mean(1)  # (T, W)
    return [int(sum((row[t, m] > 128).item() << bit for bit, m in enumerate(middle))) for t in range(len(row))]


def write(
    path,
    count=60,
    size=(96, 64),
    codec="libx264",
    pixels="yuv420p",
    stamps=None,
    matrix=None,
    options=(),
    container=(),
    say=picture,
    first=0,
):
    """Write a video of `count` numbered frames, at times `stamps` in ms, else 25 per second from `first` on."""
    with av.open(str(path), "w", options=dict(container)) as out:
        stream = out.add_stream(codec, rate=25, options={"crf": "12", "g": "12"} | dict(options))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(say(i, *size), format="rgb24")
            frame.pts = i + first if stamps is None else stamps[i]
            frame.time_base = Fraction(1, 25 if stamps is None else 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def copied(source: Path, target: Path, change=lambda number, packet: packet) -> Path:
    """Copy the packets of a video into another container; `change(number, packet)` returns the packet to write, or None
    to leave it out."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            packet = change(number, packet)
            if packet is not None:
                packet.stream = stream
                new.mux(packet)
    return target


def decoded_frames(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the time stamp of every frame that `decoding.decoded` decodes from now on."""
    stamps, decoded = [], decoding.decoded

    def counted(*arguments):
        for frame in decoded(*arguments):
            stamps.append(frame.pts)
            yield frame

    monkeypatch.setattr(decoding, "decoded", counted)
    return stamps


class Bits:
    """Write the fields of an H.264 bit stream: (value, width in bits), width 0 for an unsigned Exp-Golomb code."""

    def __init__(self):
        self.text = ""

    def put(self, *pairs):
        for value, width in pairs:
            code = format(value + 1, "b")
            self.text += format(value, f"0{width}b") if width else "0" * (len(code) - 1) + code
        return self

    def packed(self, stop=True):
        text = self.text + "1" * stop
        text += "0" * (-len(text) % 8)
        return int("1" + text, 2).to_bytes(len(text) // 8 + 1, "big")[1:]
