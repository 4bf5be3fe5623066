"""`make chaos`: a bank on real servers while everything happens to them, and a verdict on what was promised."""
