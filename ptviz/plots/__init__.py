"""Public figures: one function for every figure of the app, for notebooks and pages alike.

``run`` is a ``ptviz.runs.Run`` or its id; ``prompt`` may also be the id of a saved prompt. ``step`` of ``stage`` is the
snapshot, by default the best one of a run that ended and the newest one of an active run. ``answer`` is the result of
the measurement that the figure shows, if it is known; otherwise it is measured here. ``highlight`` dims all other
prompt tokens (or experts, if the figure is about experts).

Functions of a run or a prompt raise ``StoreError`` if it does not exist or cannot be read, if it has no such snapshot
or tensor, or if the measurement is not possible for it. Other errors are named in each function.

The functions are loaded when first used: a page that needs one does not load what all the others need. A new figure is
named in ``__init__.pyi``; docs/extend/figure.md describes its three parts.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
