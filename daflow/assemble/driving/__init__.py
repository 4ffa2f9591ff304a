"""Drivers: how one is started, watched, laid down, and what it leaves behind."""
