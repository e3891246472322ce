"""What gene modules mean, and what a trained model makes of one condition: numbers to read, no training."""
