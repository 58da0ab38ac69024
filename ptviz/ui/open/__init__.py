"""The pages that open trained prompts from other places."""
