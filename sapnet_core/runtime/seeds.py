"""Seeds per record: the random numbers of a record do not depend on what was drawn for others."""

import hashlib

__all__ = ["seed_of"]


def seed_of(dataset: str, key: str, seed: int) -> int:
    """A seed in [0, 2**63) for one record, the same on every machine and in every process."""
    text = "\0".join((dataset, key, str(int(seed)))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
