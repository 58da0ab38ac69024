"""Measurements on a frozen backbone with a trained prompt: attention, logit lens, neurons, routing, rank, edits."""
