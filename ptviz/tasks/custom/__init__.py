"""Tasks made from a user's own table or from a set of the Hugging Face Hub."""
