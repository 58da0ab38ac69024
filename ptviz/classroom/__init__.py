"""A classroom: many visitors of one app, each with their own runs, limits set by the teacher, and one worker."""
