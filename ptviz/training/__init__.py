"""Training a prompt on a frozen backbone, as a stream of events.

The names are looked up when first used: the settings of a run, which the command line needs, do not load torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
