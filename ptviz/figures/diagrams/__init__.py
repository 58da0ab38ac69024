"""Diagrams as scenes of shapes and text: the taxonomy, the methods, the stages."""
