"""The mathematics: numpy and scipy only, arrays in and arrays out, members on the first axis."""
