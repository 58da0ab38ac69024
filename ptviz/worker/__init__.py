"""The worker process: the queue of requests, their handlers, and work in the background."""
