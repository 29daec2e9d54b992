"""What is said where images hold more objects of a class than COCO's rule looks at detections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenfold.metrics.detection_matching import MOST

if TYPE_CHECKING:
    from tenfold.run import Run


def crowded_note(run: Run, details: dict[str, Any]) -> str:
    """By the details of a detector's evaluation: a few sentences, empty where COCO's rule looks at enough."""
    from tenfold.models.detection.roi import DETECTIONS

    found = details.get("crowded")  # evaluations of before have none
    if not found:
        return ""
    images, allowed = found["images"], run.recipe.detect.detections or DETECTIONS
    hold = "1 image of this part holds" if images == 1 else f"{images:,} images of this part hold"
    more = f", fewer than the {found['most']:,} objects: set --detect.detections" if allowed < found["most"] else ""
    return (
        f"COCO's figures look at the best {MOST} detections of a class in an image, and {hold} more objects of one "
        f"class, up to {found['most']:,}: {found['beyond']:,} of {found['objects']:,} objects can never count as found "
        f"there. VOC's figures look at all detections, of which this run allows {allowed:,} in an image{more}."
    )
