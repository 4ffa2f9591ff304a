"""The observation-error covariance R: its kinds behind one operator, mended and diagnosed."""
