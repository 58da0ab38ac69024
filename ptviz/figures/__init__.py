"""Dataclasses in, plotly figures out. Nothing here computes, reads a file or knows a method's name."""
