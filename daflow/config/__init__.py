"""The workflow file: one schema for the file, the command line and the service."""
