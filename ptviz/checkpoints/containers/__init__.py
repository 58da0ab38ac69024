"""File containers: arrays, and torch pickles without code."""
