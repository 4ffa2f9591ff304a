"""What a run has to say: its arrays, figures and scores."""
