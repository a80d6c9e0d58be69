"""A chat service that remembers what was said and audits its memories in the background."""
