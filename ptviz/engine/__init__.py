"""Models in memory: training a run, predicting with it, and the cache of backbones and tasks."""
