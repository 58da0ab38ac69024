"""The survey's methods, one file each.

The names are looked up when first used: what lists show of a method (``list_methods``) is data, its class needs torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
