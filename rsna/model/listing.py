"""The catalogue as a table or as JSON."""

import json

from rsna.config.verbs import ModelsOptions
from rsna.model.catalogue import COUNTER, measure, variants


def list_models(options: ModelsOptions) -> str:
    """Every EfficientNet: what `rsna models` prints."""
    if options.format == "json":
        return json.dumps(
            [
                {
                    "name": variant.name,
                    "params": (size := measure(variant.name, variant.side, variant.side)).params,
                    "macs": size.macs,
                    "input_size": [variant.side, variant.side],
                }
                for variant in variants()
            ],
            indent=2,
        )
    rows, columns = options.size
    here = f"G at {rows}×{columns}"
    lines = [f"{'model.backbone':<36}{'params M':>9}{'input':>7}{'G':>9}{here:>15}  weights"]
    for variant in variants():
        own = measure(variant.name, variant.side, variant.side)
        grey = measure(variant.name, rows, columns, in_chans=1)
        lines.append(
            f"{variant.name:<36}{own.params / 1e6:>9.2f}{variant.side:>7}{own.macs / 1e9:>9.2f}{grey.macs / 1e9:>15.2f}"
            f"  {', '.join(variant.inits)} ({variant.families})"
        )
    lines += [
        "",
        f"G: thousand millions of multiply-adds for one image, counted on the meta device by {COUNTER}: at the",
        f"network's own input with 3 channels, and at {rows}×{columns} with 1. Parameters: 3 channels, 1000 classes.",
        "model.backbone=<name>.<weights> takes one set of weights; any other timm network works as well. Names as in",
        "mmpretrain (efficientnet-b3_3rdparty-ra-noisystudent_in1k) are understood.",
    ]
    return "\n".join(lines)
