"""A max-pool for GPUs in Triton: a file apart, as Triton is not everywhere and takes a while to import."""

import triton
import triton.language as tl

__all__ = ["interpreted", "pool_kernel"]


@triton.jit
def pool_kernel(
    source,
    target,
    T,
    H,
    W,
    To,
    Ho,
    Wo,
    front_t,
    front_h,
    front_w,
    C: tl.constexpr,
    KT: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    ST: tl.constexpr,
    SH: tl.constexpr,
    SW: tl.constexpr,
    CELLS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """(B, T, H, W, C) -> (B, To, Ho, Wo, C), contiguous. A program makes CELLS cells, CHANNELS deep."""
    slices, tiles = (C + CHANNELS - 1) // CHANNELS, (Ho * Wo + CELLS - 1) // CELLS
    program = tl.program_id(0)
    channel = program % slices * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    cell = program // slices % tiles * CELLS + tl.arange(0, CELLS)[:, None]
    made = program // slices // tiles  # the output's frame, b * To + t
    b, t = made // To, made % To
    top, left = cell // Wo * SH - front_h, cell % Wo * SW - front_w
    mine = (cell < Ho * Wo) & (channel < C)
    best = tl.full((CELLS, CHANNELS), float("-inf"), tl.float32)
    for kt in tl.static_range(KT):
        frame = t * ST - front_t + kt
        start = source + (b * T + frame).to(tl.int64) * (H * W * C)  # offsets within a frame fit 32 bits
        for kh in tl.static_range(KH):
            for kw in tl.static_range(KW):
                row, column = top + kh, left + kw
                inside = (frame >= 0) & (frame < T) & (row >= 0) & (row < H) & (column >= 0) & (column < W)
                tap = start + (row * W + column) * C + channel
                value = tl.load(tap, mask=mine & inside, other=float("-inf")).to(tl.float32)
                best = tl.maximum(best, value, propagate_nan=tl.PropagateNan.ALL)
    place = target + made.to(tl.int64) * (Ho * Wo * C) + cell * C + channel
    tl.store(place, best.to(target.dtype.element_ty), mask=mine)


interpreted = not isinstance(pool_kernel, triton.JITFunction)  # under TRITON_INTERPRET=1 it runs on any device
