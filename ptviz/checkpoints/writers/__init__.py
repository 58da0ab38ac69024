"""Writers of formats that other tools read."""
