"""The sandbox as a site of its own, in a process that knows nothing of another site."""

DATABASE_VARIABLE = "OPENROUTER_SANDBOX_DATABASE"
"""The environment variable with the path of the SQLite file."""

READY = "ready"
"""What the process says as soon as it serves; anything else is what stands in its way."""
