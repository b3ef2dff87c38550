"""The `shapes` world: small drawn pictures with captions, and a judge that reads them back."""
