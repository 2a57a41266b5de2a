"""The engine against a plain model of it: random sequences of what people and programs do, checked after each."""
