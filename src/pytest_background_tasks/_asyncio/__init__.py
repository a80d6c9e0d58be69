"""Parts of asyncio that this plugin replaces or extends: handles, cancellation, forced ends."""
