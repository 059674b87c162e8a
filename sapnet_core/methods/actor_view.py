"""Features of the actor crops, for systems that use them when they predict, and not only when they train."""

from torch import Tensor

from sapnet_core.methods.video_batch import VideoBatch

__all__ = ["actor_view"]


def actor_view(method: str, videos: VideoBatch) -> Tensor:
    """Features (B, S, C) of the actor crops of a batch. Raises ValueError, which names the method, if it has none."""
    if videos.actor is None:
        raise ValueError(f"{method} looks at actor crops, which these videos do not have: give teacher='actor'")
    return videos.actor
