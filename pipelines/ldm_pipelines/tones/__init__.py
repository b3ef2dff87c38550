"""The `tones` world: a second of tones, beeps and noise, and their judge."""
