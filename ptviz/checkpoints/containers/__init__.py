"""File containers: arrays, torch pickles without code, and archives."""
