"""What a workflow would do and take, before anything runs."""
