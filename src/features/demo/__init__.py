"""The provider for demonstrations, which needs no model."""
