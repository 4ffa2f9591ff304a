"""What a worker does with a task: each kind of task, and what is at hand for it."""
