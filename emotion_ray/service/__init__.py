"""The models behind an address: a plain FastAPI app, what it refuses, and the page. No Ray."""
