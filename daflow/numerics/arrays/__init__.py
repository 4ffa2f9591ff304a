"""What arrays have to be, and the algebra, precision and random numbers that everything else shares."""
