"""What several encoders and decoders share."""
