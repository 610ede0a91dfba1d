"""What a model is and how it is run, said without loading one: plain values, light to import (no torch)."""
