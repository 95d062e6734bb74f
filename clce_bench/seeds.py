"""Seeds from named axes: the one place where randomness starts."""

import hashlib

from clce_bench.files import canonical_json


def seed_for(purpose: str, **axes: str | int) -> int:
    """Derives a seed from named axes; what is not named does not influence it.

    Args:
        purpose: what the random numbers are for.
        axes: the axes on which they may depend.

    Returns:
        An integer in [0, 2**63).
    """
    text = canonical_json({"purpose": purpose, **axes})
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
