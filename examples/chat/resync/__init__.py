"""A chat service that remembers its conversations and audits these memories in the background."""
