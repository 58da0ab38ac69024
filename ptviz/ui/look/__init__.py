"""The pages that look inside one trained prompt."""
