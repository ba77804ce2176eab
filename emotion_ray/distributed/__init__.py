"""The same work on Ray."""

import os

# What Ray reads when it is imported, and has no other way to be told.

# Ray prints a paragraph for each dead worker; a job of ours says itself which take or trial that cost. And one for
# Serve's controller, which is ended while it ends itself.
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX",
    "A worker died or was killed while executing a task|ServeController.graceful_shutdown failed",
)

# A Ray that is started here then calls its machine 127.0.0.1, as it does on Windows and macOS, and all its processes
# listen on loopback alone; else they listen on all of the machine's addresses. Without effect on a cluster joined.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
