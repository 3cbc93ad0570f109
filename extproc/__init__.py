"""An inference router for Envoy: decides, per request, which model at which provider answers."""

__version__ = "0.1.0"
