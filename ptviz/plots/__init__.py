"""Public figures: one function for every figure of the app, for notebooks and pages alike."""
