"""An engine as a project may have one: ours, with a method or two of its own on top."""
