"""The pages that explain the survey and its methods."""
