"""The service as the network sees it."""
