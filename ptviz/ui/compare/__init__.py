"""The pages that compare methods, prompts and tasks."""
