"""Data sets on which the survey's methods were judged, by name, through ``datasets``."""
