"""What came of an exploration, to be read. Knows nothing of pytest, nor of asyncio: it sees values only."""
