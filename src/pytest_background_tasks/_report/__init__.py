"""The report of an exploration, as text and as HTML. It sees values only, and imports neither pytest nor asyncio."""
