"""The one place where a workflow file becomes objects, and objects become a run."""
