"""Reports: a run, a comparison or a transfer study as one self-contained HTML file."""
