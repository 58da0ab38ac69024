"""A forward pass small enough to know its numbers by heart."""

from __future__ import annotations

import base64

from ptviz.runs.forward_pass import ForwardPass, ForwardStep


def fake_forward_pass() -> ForwardPass:
    """Two snapshots of three tokens in one layer: the prompt in the middle, which gets more attention later."""
    early, late = (base64.b64encode(bytes([51, share, 204 - share] * 3)).decode() for share in (51, 153))
    return ForwardPass(
        text="Hi",
        tokens=("[CLS]", "", "hi"),
        prompt=(1,),
        readout=(0, 2),
        layers=1,
        classes=("good", "bad"),
        alone=(0.4, 0.6),
        steps=(ForwardStep(0, 0, (0.3, 0.7), (1.0,), early), ForwardStep(0, 20, (0.9, 0.1), (2.0,), late)),
        versions={"ptviz": "1"},
    )
