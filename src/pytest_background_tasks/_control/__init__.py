"""Running held tasks."""
