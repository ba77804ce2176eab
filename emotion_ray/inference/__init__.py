"""Frames in, emotions out: one engine for the command, the HTTP service and the live page."""
