"""Members that are batch jobs of their own."""
