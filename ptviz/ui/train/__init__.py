"""The pages that start, watch and list runs."""
