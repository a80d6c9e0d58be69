# The guide's second example, word for word.
# ruff: noqa: I001 - the guide sorts its imports in its own way
# fmt: off
import asyncio
import pytest
from unittest.mock import patch

@pytest.mark.asyncio
async def test_chat_api_background_task(background_tasks):
    from resync.api.chat import run_auditor_safely

    # Start capturing tasks
    background_tasks.start_capturing()

    # Mock dependencies to avoid actual processing
    with patch("resync.api.chat.analyze_and_flag_memories") as mock_analyze:
        mock_analyze.return_value = {"processed": 1, "deleted": 0, "flagged": 0}

        # Create the background task as done in the chat API
        asyncio.create_task(run_auditor_safely())

        # Verify task was captured
        assert background_tasks.task_count == 1

        # Execute the task manually
        results = await background_tasks.run_all_async()

        # Verify execution
        assert len(results) == 1
        mock_analyze.assert_called_once()
