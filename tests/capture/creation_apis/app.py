"""The code under test behind an endpoint."""

import checks
from fastapi import BackgroundTasks, FastAPI
from starlette.responses import Response
from ways import begin

app = FastAPI()


@app.get("/{name}", response_model=None)
async def endpoint(name: str, tasks: BackgroundTasks) -> Response | None:
    checks.assert_loop()
    return await begin(name, tasks)
