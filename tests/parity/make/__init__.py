"""How the golden arrays are made: one command per reference, for anyone who has it installed."""
