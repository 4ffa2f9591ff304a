"""Workers: of this machine, of a scheduler that runs already, or jobs of a batch system."""
