"""The same work on Ray."""

import os

# Ray prints a paragraph for each dead worker; a job of ours says itself which take or trial that cost. And one for
# Serve's controller, which is ended while it ends itself. Ray reads this when it is imported, and has no other way to
# be told.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX",
    "A worker died or was killed while executing a task|ServeController.graceful_shutdown failed",
)
