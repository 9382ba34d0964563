"""The zoo: card -> ready model, and back."""
