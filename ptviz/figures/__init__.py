"""Draw what ``ptviz.analysis`` computes: dataclasses in, plotly figures out. Nothing here computes or reads a file."""
