"""What a checkpoint has learnt: reconstruction, neighbours, a linear probe, pictures."""
