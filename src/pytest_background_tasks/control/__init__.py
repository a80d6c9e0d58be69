"""Running what is held."""
