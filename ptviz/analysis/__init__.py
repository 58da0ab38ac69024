"""Compute what the figures draw: arrays in, frozen dataclasses out."""
