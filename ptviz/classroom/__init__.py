"""A classroom: many visitors of one app, each with runs of her own, limits set by the teacher, and one worker."""
