"""The classes of the methods by name, for those that need no class until there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptviz.methods.base import PromptMethod

REGISTRY: dict[str, type[PromptMethod]] = {}
"""Filled when ``ptviz.methods.survey_methods`` is imported."""
