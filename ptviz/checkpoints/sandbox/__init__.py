"""The confined process in which untrusted files are parsed, and its limits."""
