"""One reader for each way in which people save prompts."""
