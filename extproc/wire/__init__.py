"""Protobuf on one side, plain values on the other; nothing else imports generated code."""
