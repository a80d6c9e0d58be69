"""The names under which parts of the plugin are registered, by which others find them."""

MONITOR = "background_tasks_monitor"
