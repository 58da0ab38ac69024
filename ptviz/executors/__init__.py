"""Where runs are trained: on this machine, or elsewhere."""
