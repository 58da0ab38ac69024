"""Lessons: a question, the reader's prediction, an experiment whose answer is measured, and two questions to check."""
