"""`evaldock standin`: a stand-in model server in the foreground."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from catalog.errors import UsageError
from launcher.standin.faults import Fault
from launcher.standin.server import Standin


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one.")
@click.option("--model", default="stand-in", show_default=True, help="The model's name in /v1/models.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, help="Seconds before each answer.")
@click.option(
    "--fault", "faults", multiple=True, metavar="FAULT", help="A fault on request; can be repeated."
)
@click.option("--key-env", metavar="NAME", help="Variable that holds the key which callers must send.")
@click.option("--url-file", type=click.Path(path_type=Path), help="Write the base URL here once it listens.")
def standin(
    *,
    host: str,
    port: int,
    model: str,
    latency: float,
    faults: tuple[str, ...],
    key_env: str | None,
    url_file: Path | None,
) -> None:
    """Run a stand-in model server: OpenAI-compatible, no model behind it.

    It does sums, repeats what is quoted, finds a code word in a long text, fills JSON schemas and calls
    tools: enough to try an evaluation from end to end before a real endpoint is spent on it.

    \b
    Examples:
      evaldock standin --port 8000
      evaldock standin --latency 0.2 --fault 429:every=5 --fault drop:only=3
      evaldock run quickcheck.chat --model-id stand-in --url http://127.0.0.1:8000/v1/chat/completions
    """
    key = None
    if key_env is not None:
        key = os.environ.get(key_env)
        if not key:
            raise UsageError(
                f"the variable {key_env} is not set", hint="--key-env names a variable, not the key"
            )
    server = Standin(
        model=model, latency=latency, key=key, faults=tuple(Fault.parse(text) for text in faults)
    )
    asyncio.run(_serve(server, host, port, url_file))


async def _serve(server: Standin, host: str, port: int, url_file: Path | None) -> None:
    listening = await server.serve(host, port)
    bound = listening.sockets[0].getsockname()[1]
    url = f"http://{host}:{bound}/v1"
    click.echo(f"stand-in model server at {url} (stop with Ctrl-C)")
    if url_file is not None:
        # Renamed into place, so that whoever waits for the file never reads half an address.
        waiting = url_file.with_name(f"{url_file.name}.tmp")
        waiting.write_text(url)
        waiting.replace(url_file)
    async with listening:
        await listening.serve_forever()
