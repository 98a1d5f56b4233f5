"""Which prepared images hold equal pixels: the same picture under two names, as where a patient stands in two sets."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from rsna.parallel.progress import Progress
from rsna.prepare.cache import CacheError
from rsna.prepare.packs.prepared import PreparedImages

_READERS = 4


@cache
def equal_pixels(images: PreparedImages, image_ids: tuple[str, ...]) -> Mapping[str, str]:
    """Image → what all images of the same prepared pixels have in common; those that are like no other are left out.

    The same pixels prepare to the same bytes, whatever file they were in. Images of one value throughout, in which
    nothing can be seen, are nobody's.

    Args:
        images: They are read once, and what was found is remembered.
        image_ids: Some of them.
    """

    def digest(image_id: str) -> str:
        try:
            pixels = images.read(image_id)
        except CacheError:  # whoever trains on it says so
            return ""
        return hashlib.sha256(pixels.tobytes()).hexdigest() if pixels.min() < pixels.max() else ""

    with Progress("compare prepared images", len(image_ids)) as progress, ThreadPoolExecutor(_READERS) as pool:
        found = dict(zip(image_ids, progress.over(pool.map(digest, image_ids)), strict=True))
    counts = Counter(found.values())
    return {image_id: pixels for image_id, pixels in found.items() if pixels and counts[pixels] > 1}
