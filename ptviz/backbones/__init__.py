"""Frozen language models, and how prompts enter them.

The names are looked up when first used: the list of backbones does not load torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
