"""How far an observation reaches: tapers by distance, index and correlation, and updates with them."""
