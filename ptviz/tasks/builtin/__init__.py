"""Tasks whose texts come with packages from the package index."""
